"""What a trial's process does: one leg, an epoch reported to Ray Tune at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune as ray_tune
from torch import Tensor

from lstm_ray import log
from lstm_ray.config import Config
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.schema import Scaler
from lstm_ray.errors import InputError
from lstm_ray.model import checkpoint
from lstm_ray.model.training import EpochRecord
from lstm_ray.model.trial import Facts, run_trial
from lstm_ray.on_ray import cluster
from lstm_ray.on_ray.folder import Copy, Folder
from lstm_ray.on_ray.resources import Process
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
    folder: Folder
    """Of the search, on the driver's machine."""
    asked: Process | None = None
    """What each worker of a group asks for."""
    context: Mapping[str, log.Fact] | None = None
    """Run and stage that its lines name; None: it writes none."""

    @contextmanager
    def leg(self, asked: Mapping[str, Any]) -> Iterator[tuple[Leg, Copy]]:
        """The leg that Tune asked for, and its own files."""
        with self.folder.opened(legs.place(Path(), asked["trial"], asked["generation"])) as own:
            leg = Leg.of(own.path)
            assert leg is not None, "a leg is written down before it starts"
            yield leg, own

    @contextmanager
    def before(self, leg: Leg) -> Iterator[Path | None]:
        """The files of the leg that it goes on from, where there is one."""
        if (name := leg.before(Path())) is None:
            yield None
            return
        with self.folder.opened(name) as found:
            yield found.path

    def trial(self, leg: Leg) -> Config:
        """The config that a leg trains by."""
        return trial_config(self.config, leg.settings)


def run_leg(asked: dict[str, Any], *, given: Given, segments: list) -> None:
    """Train a leg in this process, or tell again what came of it.

    Args:
        segments: one reference to those that the policy was trained on, scaled.
    """
    torch.set_num_threads(1)
    with given.leg(asked) as (leg, own), given.before(leg) as before, given.folder.opened(Path(FORMS)) as forms:
        if (known := told_before(own.path)) is not None:
            for line in known:
                ray_tune.report(line)
            return
        if given.context is not None:
            cluster.work_for(given.context, trial=leg.number)
            log.say("a trial's leg begins", generation=leg.generation)
        last: Told = {"epoch": 0}

        def say(record: EpochRecord, start_loss: float | None) -> bool:
            nonlocal last
            last = told(record)
            # Not before the driver has it: a leg that is cut off here goes on after what was told.
            forms.keep()
            own.keep()
            ray_tune.report(last)
            return True

        try:
            run_trial(
                given.trial(leg),
                ray.get(segments[0]),
                given.bounds,
                given.weights,
                own.path,
                say,
                scaler=given.scaler,
                until=leg.until,
                goes_on_from=before,
                base=given.base,
                forms=forms.path,
            )
        except (InputError, MemoryError) as error:
            # Raised, Tune would train it a second time.
            ray_tune.report(failed(own, last["epoch"], error))


def told(record: EpochRecord) -> Told:
    return {"epoch": record.epoch + 1, "validation_loss": record.validation_loss, "kept_loss": record.kept_loss}


def failed(own: Copy, epoch: int, error: Exception | str) -> Told:
    """Write down why a leg failed, for good, and what Tune is told of it: no scheduler can judge what has no loss."""
    facts = Facts.read(own.path) or Facts()
    facts.failure = f"no memory was left ({error})" if isinstance(error, MemoryError) else str(error)
    facts.write(own.path)
    own.keep()
    return _as_failed(epoch, facts.failure)


def told_before(own: Path) -> list[Told] | None:
    """All that a leg told before the search was killed, where it had ended; None where it goes on."""
    facts, found = Facts.read(own), checkpoint.newest(own)
    lines = [told(record) for record in found[0]] if found else []
    if facts is not None and facts.failure:
        return [*lines, _as_failed(len(lines), facts.failure)]
    return lines if lines and legs.is_whole(own) else None


def _as_failed(epoch: int, failure: str) -> Told:
    return {"epoch": epoch, "validation_loss": math.inf, "kept_loss": math.inf, "failure": failure}
