# The experiment as an image; its command is the README's main job.
#
#   docker build -t cl-lsg .                          runs on the CPU
#   docker build -t cl-lsg-gpu --build-arg GPUS=all . uses the GPUs of a host with NVIDIA's container runtime
#   docker run --shm-size=4g -v cl-lsg-runs:/cl-lsg/runs -v cl-lsg-reports:/cl-lsg/reports cl-lsg
#
# Both hold the packages of requirements.lock, whose torch brings its CUDA libraries and runs without a GPU as
# well. tests/test_image.py checks the files copied and runs the steps that differ from a clone's; what no
# test exercises is Docker itself: the base image, its Debian packages, the user, and GPUs in a container.
FROM python:3.11-slim

RUN apt-get update && apt-get install -y --no-install-recommends git make && rm -rf /var/lib/apt/lists/*

# A user without rights or name, whose home can be written: Ray and MLflow keep files there.
ENV HOME=/user
RUN mkdir /user /cl-lsg && chown 1000:1000 /user /cl-lsg
USER 1000:1000
WORKDIR /cl-lsg

ENV DVC_NO_ANALYTICS=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
    RAY_AUTH_MODE=token \
    RAY_USAGE_STATS_ENABLED=0 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1 \
    UV_NO_CACHE=1

# The packages are a layer of their own: a change of the code does not install them again.
COPY --chown=1000:1000 Makefile requirements.lock requirements-bootstrap.lock ./
RUN make packages
COPY --chown=1000:1000 . .
RUN make setup

# Volumes are mounted here: a folder that the image lacks would be root's.
RUN mkdir -p artifacts data reports runs

# The image holds no git history, which DVC must be told.
RUN .venv/bin/dvc config --local core.no_scm true

ARG GPUS=void
ENV NVIDIA_VISIBLE_DEVICES=${GPUS} \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

CMD ["make", "repro"]
