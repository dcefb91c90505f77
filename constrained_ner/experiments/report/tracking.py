"""Runs as runs of an experiment in MLflow, where that is installed. Where they go is MLflow's own setting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import MissingExtraError, OutputError
from ..comparison import shared_options
from ..measures import measures_of
from ..scored_run import ScoredRun

_LONGEST_PARAMETER = 500  # what every version of MLflow stores


def require_mlflow() -> Any:
    """The module. Raises MissingExtraError without MLflow."""
    try:
        import mlflow
    except ImportError:
        raise MissingExtraError("mlflow", "mlflow") from None
    return mlflow


def log_to_mlflow(runs: Sequence[ScoredRun], experiment: str = "constrained-ner") -> None:
    """Log each run with its options as parameters, its figures as metrics and its record as an artifact.

    Raises MissingExtraError without MLflow, and OutputError where it cannot store the runs.
    """
    mlflow = require_mlflow()
    try:
        mlflow.set_experiment(experiment)
        for run in runs:
            with mlflow.start_run(run_name=run.name):
                options = shared_options([run.record])
                mlflow.log_params({name: value[:_LONGEST_PARAMETER] for name, value in options.items()})
                measured = measures_of(run)
                mlflow.log_metrics({m.key: float(m.value) for m in measured if m.value is not None})
                mlflow.log_artifact(str(run.path))
    except mlflow.exceptions.MlflowException as error:
        raise OutputError(f"MLflow: {str(error).splitlines()[0]}") from None
