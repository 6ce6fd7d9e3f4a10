"""The logger "wandb": Weights & Biases."""

from __future__ import annotations

import os
from typing import Any

from .base import LOGGERS, Begun, need

#: Seconds that the end waits for what is not sent.
_SECONDS = 60.0


class WandB:
    """A run of Weights & Biases, which goes on under its id when the run in the folder does.

    One that is open already is logged to, and stays open. WANDB_PROJECT (else "sassl"), WANDB_ENTITY, WANDB_MODE=offline and
    what else wandb reads hold. `step/loss` and the like are drawn over "step", `epoch/loss` over "epoch", so that points which
    come again after a kill lie over each other.

    Args:
        options: more keywords of `wandb.init`, such as project, name, tags.

    Raises:
        ImportError: wandb is not installed.
    """

    name = "wandb"

    def __init__(self, **options: Any) -> None:
        need("wandb", "wandb")
        self._options = options

    def begin(self, run: Begun) -> str:
        """Its id is kept."""
        import wandb

        self._is_own = wandb.run is None
        project = os.environ.get("WANDB_PROJECT") or "sassl"
        options = {"project": project, "config": run.settings, "id": run.kept}
        options["resume"] = None if run.kept is None else "allow"
        # Else its end waits for ever for a network that is gone, and a job is killed before it can be queued again.
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
        """Under `step/`; wandb sends it in a process of its own."""
        self._run.log({"step": step, **{f"step/{name}": value for name, value in values.items()}})

    def epoch(self, epoch: int, values: dict[str, float]) -> None:
        """Under `epoch/`."""
        told = {f"epoch/{name}": value for name, value in values.items() if name != "epoch"}
        self._run.log({"epoch": epoch, **told})

    def end(self, outcome: str) -> None:
        """Waits a minute at most for what is not sent; `wandb sync` sends it later."""
        if self._is_own:
            self._run.finish(exit_code=0 if outcome == "finished" else 1)


LOGGERS["wandb"] = WandB
