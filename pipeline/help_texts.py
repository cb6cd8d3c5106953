"""What `cl-lsg --help` and the helps of its commands say beside their options."""

ABOUT = """\
Continual learning by learnable sparse growth: experiments from params.yaml to tables.

the way of an experiment
  prepare -> targets -> learn -> tables, for each benchmark named in params.yaml
  dvc repro        all of it, skipping what is up to date
  cl-lsg run       the same without DVC

where things lie
  params.yaml                      what is run; every value is explained there
  data/tasks/BENCH/                prepared tasks (prepare)
  data/targets/BENCH.json          goal accuracies (targets)
  data/planned/BENCH.json          which units a run comes to, for `cl-lsg record --planned`
  data/units/                      finished units, for `dvc push` and `dvc pull`
  runs/BENCH/METHOD/SEED-KEY/      what was learned: a unit; finished ones are never repeated
  reports/BENCH/                   tables and figures (tables)
  results/BENCH/NAME/              recorded experiments (record)
"""

EXAMPLES = """\
examples
  cl-lsg plan                                  what the experiment costs on this machine
  cl-lsg run --benchmark digits                minutes on a laptop, no download
  cl-lsg run --benchmark digits --method scratch cl-lsg --seed 1 2 -S train.epochs=5
  cl-lsg sweep --benchmark digits --param learn.cl-lsg.penalty=loguniform:1e-5,1e-3 --samples 8
  cl-lsg status                                what is finished, running, or out of date
  cl-lsg verify runs/digits                    prove that nothing was forgotten
  cl-lsg export runs/digits/cl-lsg/seed1-KEY --task 2 --to task2.pt2
"""

SWEEP = """\
kinds of --param
  grid:A,B,C        every value
  choice:A,B,C      drawn from the values
  uniform:LOW,HIGH  drawn between two numbers
  loguniform:LOW,HIGH  the same, evenly over orders of magnitude

example
  cl-lsg sweep --benchmark digits --method cl-lsg --tasks 3 --seed 1 --samples 8 \\
      --param learn.cl-lsg.seed_fraction=choice:0.0625,0.125,0.25 \\
      --param learn.cl-lsg.penalty=loguniform:1e-5,1e-3

A trial is learned as ordinary units: `dvc repro` finds them, and the sweep finds those of `dvc repro`. The
same command goes on where it was stopped. Ray runs the trials, so --executor concerns the baselines alone.
"""

RECORD = """\
With neither option: the experiment that the stages targets and learn finished; a hole in it is an error. With
--planned: the finished units alone, and the names of those that are missing. With --join: what other records
hold, each unit with the machine it was learned on. The same command may be repeated.

examples
  cl-lsg record cifar100-split tasks-1-3
  cl-lsg record cifar100-split tasks-1-3 --planned
  cl-lsg record cifar100-superclass gpu --planned other/data/planned/cifar100-superclass.json
  cl-lsg record cifar100-split seeds-1-2 --join seed-1 seed-2
  cl-lsg record cifar100-split with-new-cpg --join seed-1:scratch,cl-lsg new:cpg
"""

IMPORT = """\
Each unit is checked first: its name against what it covers, and its networks against its certificate. A
finished unit of the store is never overwritten, and the same command may be repeated.

example
  tar -czf units.tar.gz runs            # on the other machine
  cl-lsg import units.tar.gz            # here
"""

MACHINE = """\
how units run (not in params.yaml, as it changes no result, but for threads and CPU or GPU)
  CL_LSG_EXECUTOR            ray (default) or local
  CL_LSG_WORKERS             units at a time (default: CPUs / threads)
  CL_LSG_THREADS             torch threads of a unit (default 1; part of a unit's identity)
  CL_LSG_GPU_SHARE           GPUs of a unit, 0 = CPU (default: what there is); CPU or GPU is part of identity
  CL_LSG_CHECKPOINT_SECONDS  seconds between checkpoints (default 20)
  CL_LSG_RUNS                where units lie (default runs/)
  CL_LSG_TRACKING            mlflow (default) or off
  MLFLOW_TRACKING_URI        default mlflow.db of the project
  RAY_ADDRESS                a running Ray cluster (default: start one on this machine)
"""
