"""The logger "wandb": Weights & Biases."""

from __future__ import annotations

import os
from typing import Any

from .base import LOGGERS, Begun, need

#: Seconds that `end` waits for unsent values.
_SECONDS = 60.0


class WandB:
    """Logs to a Weights & Biases run. When pretraining resumes from its folder, that run continues under the same id.

    A wandb run that is already open is used, and stays open afterwards. WANDB_PROJECT (default "sassl"), WANDB_ENTITY,
    WANDB_MODE=offline and wandb's other environment variables apply. Values under `step/` are plotted over "step", and values
    under `epoch/` over "epoch". A step that is repeated after a kill is thus drawn at the same position.

    Args:
        options: further keywords of `wandb.init`, such as project, name or tags. These override the logger's defaults.

    Raises:
        ImportError: wandb is not installed.
    """

    name = "wandb"

    def __init__(self, **options: Any) -> None:
        need("wandb", "wandb")
        self._options = options

    def begin(self, run: Begun) -> str:
        """Start or continue the wandb run, and return the run's id."""
        import wandb

        self._is_own = wandb.run is None
        project = os.environ.get("WANDB_PROJECT") or "sassl"
        options = {"project": project, "config": run.settings, "id": run.kept}
        options["resume"] = None if run.kept is None else "allow"
        # Otherwise `finish` waits forever if the network is lost, and a job is killed before it can be requeued.
        if "finish_timeout" in getattr(wandb.Settings, "model_fields", {}) and "WANDB_FINISH_TIMEOUT" not in os.environ:
            options["settings"] = {"finish_timeout": _SECONDS, "finish_timeout_raises": True}
        if run.folder is not None:
            options |= {"dir": str(run.folder), "name": run.folder.resolve().name}
        self._run = wandb.init(**{**options, **self._options}) if self._is_own else wandb.run
        if not self._is_own:
            self._run.config.update(run.settings, allow_val_change=True)
        for axis in ("step", "epoch"):
            self._run.define_metric(axis, hidden=True)
            self._run.define_metric(f"{axis}/*", step_metric=axis)
        return str(self._run.id)

    def step(self, step: int, values: dict[str, float]) -> None:
        """Log the values under `step/`; wandb sends them in a separate process."""
        self._run.log({"step": step, **{f"step/{name}": value for name, value in values.items()}})

    def epoch(self, epoch: int, values: dict[str, float]) -> None:
        """Log the values under `epoch/`."""
        told = {f"epoch/{name}": value for name, value in values.items() if name != "epoch"}
        self._run.log({"epoch": epoch, **told})

    def end(self, outcome: str) -> None:
        """Wait for unsent values, for at most a minute; `wandb sync` sends the rest later."""
        if self._is_own:
            self._run.finish(exit_code=0 if outcome == "finished" else 1)


LOGGERS["wandb"] = WandB
