"""The logger "mlflow". It sends values in a thread, since MLflow's client waits minutes for an unreachable server."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable

from .base import LOGGERS, Begun, need

#: The maximum number of calls in the queue for the server, and the seconds that `end` waits for these calls.
_MOST, _SECONDS = 10_000, 60
#: The maximum length of a logged setting; all servers accept at least 500 characters.
_LENGTH = 500
_STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


class MLflow:
    """Logs to an MLflow run. When pretraining resumes from its folder, the MLflow run continues under the same id.

    An MLflow run that is already active is used, and stays active afterwards. The environment variables MLFLOW_TRACKING_URI,
    MLFLOW_EXPERIMENT_ID and MLFLOW_EXPERIMENT_NAME apply. Settings are logged as parameters, truncated to 500 characters.

    Args:
        experiment: the experiment's name; None: from the environment, else "Default".
        uri: the tracking server or folder; None: MLflow's default.

    Raises:
        ImportError: mlflow is not installed.
    """

    name = "mlflow"

    def __init__(self, experiment: str | None = None, uri: str | None = None) -> None:
        need("mlflow", "mlflow-skinny")
        self._experiment, self._uri = experiment, uri

    def begin(self, run: Begun) -> str:
        """Start or continue the MLflow run, and return the run's id."""
        import mlflow
        from mlflow.entities import Metric, Param

        client = mlflow.MlflowClient(tracking_uri=self._uri)
        self._client, self._metric = client, Metric
        active = mlflow.active_run()
        self._is_own = active is None
        if active is not None:
            self._id = active.info.run_id
        elif run.kept is not None:
            self._id = run.kept
            client.update_run(self._id, status="RUNNING")
        else:
            name = None if run.folder is None else run.folder.resolve().name
            self._id = client.create_run(self._experiment_id(), run_name=name).info.run_id
        if run.kept is None:
            params = [Param(name, str(value)[:_LENGTH]) for name, value in run.settings.items()]
            client.log_batch(self._id, params=params)
        self._error: Exception | None = None
        self._calls: queue.Queue[Callable[[], object] | None] = queue.Queue(_MOST)
        self._thread = threading.Thread(target=self._work, name="sassl-mlflow", daemon=True)
        self._thread.start()
        return str(self._id)

    def _experiment_id(self) -> str:
        if self._experiment is None and (given := os.environ.get("MLFLOW_EXPERIMENT_ID")):
            return given
        name = self._experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "Default"
        found = self._client.get_experiment_by_name(name)
        return str(self._client.create_experiment(name) if found is None else found.experiment_id)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                call()
            except Exception as error:
                # Raised by the next call of the run.
                self._error = error

    def _do(self, call: Callable[[], object]) -> None:
        """Queue a call for the thread, and raise the error of an earlier call, if any."""
        try:
            self._calls.put_nowait(call)
        except queue.Full:
            raise TimeoutError(f"{_MOST} points wait for the server, and this one is lost") from None
        if (error := self._error) is not None:
            self._error = None
            raise error

    def _scalars(self, prefix: str, number: int, values: dict[str, float]) -> None:
        now = round(1000 * time.time())
        found = [self._metric(f"{prefix}/{name}", float(value), now, number) for name, value in values.items()]
        self._do(lambda: self._client.log_batch(self._id, metrics=found))

    def step(self, step: int, values: dict[str, float]) -> None:
        """Log the values under `step/`."""
        self._scalars("step", step, values)

    def epoch(self, epoch: int, values: dict[str, float]) -> None:
        """Log the values under `epoch/`."""
        self._scalars("epoch", epoch, {name: value for name, value in values.items() if name != "epoch"})

    def end(self, outcome: str) -> None:
        """Wait for unsent values, for at most a minute."""
        if self._is_own:
            self._calls.put(lambda: self._client.set_terminated(self._id, _STATUS[outcome]), timeout=_SECONDS)
        self._calls.put(None, timeout=_SECONDS)
        self._thread.join(_SECONDS)
        if self._thread.is_alive():
            raise TimeoutError(f"{self._calls.qsize()} points did not reach the server in {_SECONDS} s and are lost")
        if self._error is not None:
            raise self._error


LOGGERS["mlflow"] = MLflow
