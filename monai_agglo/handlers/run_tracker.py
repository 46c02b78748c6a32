"""MLflow tracking with resumable runs."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ignite.engine import Engine
from monai.handlers import MLFlowHandler

__all__ = ["RunTracker"]


class RunTracker(MLFlowHandler):
    """MONAI's MLflow handler with one run per run name.

    MONAI's handler resumes an unfinished run of the same name, fails if a parameter has changed since (such as the git
    revision), and opens a second run beside a finished one. This handler resumes the run in any state and keeps its
    original parameters. ``run_name`` must be unique (:func:`monai_agglo.handlers.run_name`).

    Args:
        tracking_uri: MLflow tracking URI; a SQLite file here.
        options: see :class:`monai.handlers.MLFlowHandler`.
    """

    cur_run: Any
    experiment_param: Any

    def __init__(self, tracking_uri: str | None = None, **options: Any) -> None:
        with _only_one(tracking_uri or ""):
            super().__init__(tracking_uri, **options)

    def start(self, engine: Engine) -> None:
        """Open or reopen the run."""
        self._set_experiment()
        if self.cur_run is None and self.run_name:
            # search by name on the server
            name = self.run_name.replace("'", "")
            query = f"attributes.run_name = '{name}'"
            found = list(self.client.search_runs([self.experiment.experiment_id], filter_string=query))
            if found:
                run_id = found[0].info.run_id
                if found[0].info.status != "RUNNING":
                    self.client.update_run(run_id, status="RUNNING")
                self.cur_run = self.client.get_run(run_id)
        parameters = self.experiment_param
        if parameters:
            self.experiment_param = dict(parameters)
            self._delete_exist_param_in_dict(self.experiment_param)
        super().start(engine)
        self.experiment_param = parameters


def _only_one(tracking_uri: str) -> AbstractContextManager:
    """Lock the creation of tables in a new SQLite file, which fails in MLflow for concurrent trainings."""
    from filelock import FileLock

    scheme, _, path = tracking_uri.partition(":///")
    place = Path(unquote(path))
    return FileLock(f"{place}.lock") if scheme == "sqlite" and place.parent.is_dir() else nullcontext()
