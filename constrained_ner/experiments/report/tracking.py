"""Logs runs to an MLflow experiment. MLflow's own settings say where it stores them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import MissingExtraError, OutputError
from ..comparison import shared_options
from ..measures import measures_of
from ..scored_run import ScoredRun

_LONGEST_PARAMETER = 500  # every version of MLflow stores this many characters


def require_mlflow() -> Any:
    """The MLflow module. Raises MissingExtraError without it."""
    try:
        import mlflow
    except ImportError:
        raise MissingExtraError("mlflow", "mlflow") from None
    return mlflow


def log_to_mlflow(runs: Sequence[ScoredRun], experiment: str = "constrained-ner") -> None:
    """Log each run: options as parameters, figures as metrics, the record as an artifact.

    Raises MissingExtraError without MLflow, and OutputError if MLflow cannot store the runs.
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
