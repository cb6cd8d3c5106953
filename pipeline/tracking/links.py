"""Addresses of MLflow's pages that show a benchmark without set-up."""

import json

from mlflow import MlflowClient

from pipeline.tracking.store import experiment_id
from pipeline.tracking.summary import IDENTITY

SHOWN = ("params.`method`", "params.`seed`", "metrics.`final/average`", "metrics.`final/size`")
"""Columns of the runs side by side."""
_VIEW = "side-by-side"
_STATE = {
    "searchFilter": f"tags.identity != '{IDENTITY}'",
    "orderByKey": "metrics.`final/average`",
    "orderByAsc": False,
    "startTime": "ALL",
    "lifecycleFilter": "Active",
    "datasetsFilter": [],
    "modelVersionFilter": "All Runs",
    "selectedColumns": SHOWN,
}
TAGS = {
    "mlflow.experimentKind": "custom_model_development",  # pages of training, not of language models
    f"mlflow.sharedViewState.{_VIEW}": json.dumps(_STATE),
}
"""What makes an experiment's pages useful as they open."""


def paths(uri: str, benchmark: str) -> dict[str, str] | None:
    """The pages of a benchmark by what they show; None when the store has no such experiment.

    Writes the view of the runs side by side into the store.
    """
    number = experiment_id(uri, benchmark)
    if number is None:
        return None
    client = MlflowClient(uri)
    for name, value in TAGS.items():
        client.set_experiment_tag(number, name, value)
    here = f"/#/experiments/{number}/runs"
    found = {"runs": f"{here}?viewStateShareKey={_VIEW}", "charts": f"{here}?compareRunsMode=CHART"}
    for report in client.search_runs([number], f"tags.identity = '{IDENTITY}'", max_results=1):
        found["report"] = f"{here}/{report.info.run_id}/artifacts/index.html"
    return found
