"""Metrics of long work, as Ray exports them to Prometheus on every node, each with its run and stage. Knows no stage.

Where this process has not joined a cluster, nothing is kept and nothing is said. Ray puts `ray_` before each name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import ray
from ray.util.metrics import Counter, Gauge

from lstm_ray import log, progress

LABELS = ("run", "stage")


@dataclass(frozen=True)
class Kind:
    """One metric: a gauge holds the last value that was told, a counter the sum of all."""

    kind: Literal["gauge", "counter"]
    description: str
    further: tuple[str, ...] = ()
    """Labels beside the run and the stage."""


KINDS = {
    "progress": Kind("gauge", "Share of a step that is done, from 0 to 1.", ("step",)),
    "steps": Kind("counter", "Parts of a step that were done.", ("step",)),
    "train_windows_per_second": Kind("gauge", "Windows learned from in a second of the last epoch, by all workers."),
    "train_epochs": Kind("gauge", "Epochs that have ended."),
    "train_validation_loss": Kind("gauge", "Loss on the validation part after the last epoch."),
    "queue": Kind("gauge", "Parts of a step that are not done yet, under way or not; 0 once it is over.", ("step",)),
    "rollouts": Kind("counter", "Starts from which an actor has told futures under every scenario."),
    "rows_prepared": Kind("counter", "Rows of the regular grid that were prepared."),
    "trials": Kind("counter", "Trials that have ended.", ("outcome",)),
}
"""Each is exported as ray_lstm_ray_NAME; a counter also ends in _total."""
_made: dict[str, Any] = {}
"""Ray wants each metric to be made once in a process."""


def tell(name: str, value: float, **labels: str) -> None:
    """Set a gauge, or add to a counter."""
    if not ray.is_initialized() or (KINDS[name].kind == "counter" and value <= 0):
        return
    kind = KINDS[name]
    if name not in _made:
        make = Gauge if kind.kind == "gauge" else Counter
        _made[name] = make(f"lstm_ray_{name}", kind.description, (*LABELS, *kind.further))
    here = log.context()
    tags = {label: str(here.get(label) or "") for label in LABELS} | labels
    if kind.kind == "gauge":
        _made[name].set(value, tags)
    else:
        _made[name].inc(value, tags)


def watch_progress() -> None:
    """Have every bar of this process told as metrics."""
    progress.watch(_moved)


def epoch(number: int, windows_per_second: float, validation_loss: float) -> None:
    """An epoch of a training has ended, by number from 0."""
    tell("train_epochs", number + 1)
    tell("train_windows_per_second", windows_per_second)
    tell("train_validation_loss", validation_loss)


def _moved(title: str, done: int, total: int, is_over: bool) -> None:
    if is_over:
        # What is left of work that ended early, or failed, waits for nobody.
        tell("queue", 0, step=title)
        return
    tell("progress", done / max(1, total), step=title)
    tell("queue", total - done, step=title)
    tell("steps", 1, step=title)
