"""What a trial's process does: one leg, an epoch reported to Ray Tune at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune as ray_tune
from torch import Tensor

from lstm_ray.config import Config
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.schema import Scaler
from lstm_ray.errors import InputError
from lstm_ray.model import checkpoint
from lstm_ray.model.training import EpochRecord
from lstm_ray.model.trial import Facts, run_trial
from lstm_ray.on_ray.tuning import legs
from lstm_ray.on_ray.tuning.legs import Leg
from lstm_ray.space import trial_config

FORMS = "closed_forms"
"""Folder of the search where trials leave closed forms for one another."""
Told = dict[str, Any]
"""What Tune is told: ``epoch`` (of the trial, from 1), ``validation_loss``, ``kept_loss`` and, where there is one, the
``failure``."""


@dataclass(frozen=True)
class Given:
    """What every trial is given, beside its leg."""

    config: Config
    """Of the run."""
    bounds: Boundaries
    base: Config
    """Of the trained policy."""
    scaler: Scaler
    """Of the data."""
    weights: Mapping[str, Tensor]
    """Of the trained policy."""
    folder: Path
    """Of the search; all nodes see it."""
    cpus: float = 1.0
    """That each worker of a group asks for."""

    def leg(self, asked: Mapping[str, Any]) -> Leg:
        """The leg that Tune asked for."""
        leg = Leg.read(self.folder, asked["trial"], asked["generation"])
        assert leg is not None, "a leg is written down before it starts"
        return leg

    def trial(self, leg: Leg) -> Config:
        """The config that a leg trains by."""
        return trial_config(self.config, leg.settings)


def run_leg(asked: dict[str, Any], *, given: Given, segments: list) -> None:
    """Train a leg in this process, or tell again what came of it.

    Args:
        segments: one reference to those that the policy was trained on, scaled.
    """
    torch.set_num_threads(1)
    leg = given.leg(asked)
    own = leg.place(given.folder)
    if (known := told_before(own)) is not None:
        for line in known:
            ray_tune.report(line)
        return
    last: Told = {"epoch": 0}

    def say(record: EpochRecord, start_loss: float | None) -> bool:
        nonlocal last
        last = told(record)
        ray_tune.report(last)
        return True

    try:
        run_trial(
            given.trial(leg),
            ray.get(segments[0]),
            given.bounds,
            given.weights,
            own,
            say,
            scaler=given.scaler,
            until=leg.until,
            goes_on_from=leg.before(given.folder),
            base=given.base,
            forms=given.folder / FORMS,
        )
    except (InputError, MemoryError) as error:
        # Raised, Tune would train it a second time.
        ray_tune.report(failed(own, last["epoch"], error))


def told(record: EpochRecord) -> Told:
    return {"epoch": record.epoch + 1, "validation_loss": record.validation_loss, "kept_loss": record.kept_loss}


def failed(own: Path, epoch: int, error: Exception | str) -> Told:
    """Write down why a leg failed, for good, and what Tune is told of it: no scheduler can judge what has no loss."""
    facts = Facts.read(own) or Facts()
    facts.failure = f"no memory was left ({error})" if isinstance(error, MemoryError) else str(error)
    facts.write(own)
    return {"epoch": epoch, "validation_loss": math.inf, "kept_loss": math.inf, "failure": facts.failure}


def told_before(own: Path) -> list[Told] | None:
    """All that a leg told before the search was killed, where it had ended; None where it goes on."""
    facts, found = Facts.read(own), checkpoint.newest(own)
    lines = [told(record) for record in found[0]] if found else []
    if facts is not None and facts.failure:
        return [*lines, failed(own, len(lines), facts.failure)]
    return lines if lines and legs.is_whole(own) else None
