"""MLflow: a run in an sqlite store, without a server; ``mlflow ui --backend-store-uri sqlite:///PLACE`` shows it.

The client is asked by name and never by MLflow's global state, so that nothing of the user's own tracking is changed.
Of MLflow only its slim package is needed (mlflow-skinny, with SQLAlchemy and Alembic); the whole one does as well.
"""

import io
import logging
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from sightline.training.loggers.experiment_logger import Ending, ExperimentLogger, LoggedRun
from sightline.training.loggers.kept import keep_id, kept_id, later

STORE = "mlruns.db"
"""In the run folder, unless told otherwise."""

EXPERIMENT = "sightline"

_PARAMETERS_AT_ONCE = 100
_LONGEST_PARAMETER = 500
_STATUS: Mapping[Ending, str] = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


class MlflowLogger(ExperimentLogger):
    """Metrics by step, parameters, pictures and the report's path as a tag.

    The store can delete no point. A run that goes on looks up the last step of each metric and writes later ones only:
    steps that are done again are as they were written first.

    Args:
        place: the sqlite file, which several runs may share; None for one in the run folder.
    """

    name = "mlflow"

    def __init__(self, place: Path | None = None) -> None:
        self._given = place
        self._place = Path(STORE) if place is None else place
        self._client: Any = None
        self._run = ""
        self._last: dict[str, int] = {}

    @property
    def place(self) -> Path:
        """The sqlite file."""
        return self._place

    def start(self, run: LoggedRun) -> None:
        """Make or find the run."""
        self._place = run.folder / STORE if self._given is None else self._given
        self._place.parent.mkdir(parents=True, exist_ok=True)
        self._client = _client(self._place)
        known = kept_id(run.folder, self.name) if run.resumed else None
        if known is None:
            self._run = self._begin(run)
            keep_id(run.folder, self.name, self._run)
        else:
            self._run = known
            self._client.update_run(known, status="RUNNING")
            names = self._client.get_run(known).data.metrics
            self._last = {name: self._last_step(name) for name in names}

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One point each, in one transaction."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        # The store rounds infinities to the largest float; what is not finite is kept as not a number.
        finite = {name: value if math.isfinite(value) else math.nan for name, value in values.items()}
        points = [Metric(name, value, now, step) for name, value in later(step, finite, self._last).items()]
        if points:
            self._client.log_batch(self._run, metrics=points, synchronous=True)

    def picture(self, step: int, title: str, jpeg: bytes) -> None:
        """Among the artifacts."""
        del step
        self._client.log_image(self._run, Image.open(io.BytesIO(jpeg)), artifact_file=f"{title}.jpg")

    def summary(self, step: int, metrics: Mapping[str, float], report: Path) -> None:
        """Points at the last step, the report's path as a tag."""
        self.scalars(step, metrics)
        self._client.set_tag(self._run, "report", str(report.resolve()))

    def close(self, ending: Ending) -> None:
        """Say how the run ended."""
        if self._run:
            self._client.set_terminated(self._run, status=_STATUS[ending])

    def _begin(self, run: LoggedRun) -> str:
        from mlflow.entities import Param

        artifacts = (self._place.parent / "mlruns").resolve().as_uri()
        found = self._client.get_experiment_by_name(EXPERIMENT)
        experiment = found.experiment_id if found else self._client.create_experiment(EXPERIMENT, artifacts)
        identity = str(self._client.create_run(experiment, run_name=run.name).info.run_id)
        parameters = [Param(name, str(value)[:_LONGEST_PARAMETER]) for name, value in run.settings().items()]
        for start in range(0, len(parameters), _PARAMETERS_AT_ONCE):
            part = parameters[start : start + _PARAMETERS_AT_ONCE]
            self._client.log_batch(identity, params=part, synchronous=True)
        self._client.set_tag(identity, "folder", str(run.folder.resolve()))
        return identity

    def _last_step(self, name: str) -> int:
        return max(int(point.step) for point in self._client.get_metric_history(self._run, name))


def _client(place: Path) -> Any:
    """A client of an sqlite store, with MLflow's reports home switched off and its notes on tables kept back."""
    # Read when mlflow is imported. Who sets them to something else has asked for it.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    from mlflow.tracking import MlflowClient

    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # what fails is raised, and said once
    return MlflowClient(f"sqlite:///{place.resolve()}")
