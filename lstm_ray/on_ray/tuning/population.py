"""Population based training (Jaderberg et al. 2017) in generations: poor trials go on from good ones, settings disturbed.

A generation is decided from the files of the one before, by the seed: one that was killed is decided in the same way
again. Knows no Ray.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from lstm_ray.config import Config
from lstm_ray.errors import InputError
from lstm_ray.model import checkpoint
from lstm_ray.on_ray.tuning.legs import TRIALS, Leg, write
from lstm_ray.space import DRAWS, Settings, disturbed, draw, trial_config

QUARTER = 4
"""One trial in this many takes another one over in each generation, and as many may be taken over."""


def num_generations(config: Config) -> int:
    return -(-config.tune.max_epochs // config.tune.grace_epochs)


def first(config: Config) -> list[Leg]:
    """The generation that starts from the trained policy."""
    return [
        Leg(number, settings, generation=0, until=_until(config, 0)) for number, settings in enumerate(draw(config), 1)
    ]


def following(config: Config, folder: Path, legs: list[Leg]) -> list[Leg]:
    """The next generation, from what came of one; empty where it was the last or nobody is left to go on from."""
    generation = (legs[0].generation or 0) + 1
    if generation == num_generations(config):
        return []
    taken = takeovers({leg.number: loss_of(leg, folder) for leg in legs}, config.seed, generation)
    if taken is None:
        return []
    by_number, found = {leg.number: leg for leg in legs}, []
    epoch = legs[0].until
    for leg in legs:
        donor, lineage, settings = taken.get(leg.number), leg.lineage, leg.settings
        if donor is not None:
            random = np.random.default_rng([config.seed, generation, leg.number])
            settings = _near(config, by_number[donor].settings, random)
            changed = [f"{path} {_written(value)}" for path, value in settings.items()]
            lineage = [*lineage, f"took over trial {donor} at epoch {epoch}, with {', '.join(changed)}"]
        found.append(Leg(leg.number, settings, generation, _until(config, generation), donor or leg.number, lineage))
    return found


def takeovers(losses: Mapping[int, float], seed: int, generation: int) -> dict[int, int] | None:
    """Who goes on from whom: the worst quarter, and all that failed, each from one of the best quarter.

    Args:
        losses: by trial; infinite where it failed.

    Returns:
        None where all failed.
    """
    order = sorted(losses, key=lambda number: (losses[number], number))
    count = max(1, len(order) // QUARTER)
    donors = [number for number in order[:count] if math.isfinite(losses[number])]
    if not donors:
        return None
    poor = {*order[-count:], *(number for number in order if not math.isfinite(losses[number]))} - set(donors)
    random = np.random.default_rng([seed, generation])
    return {number: donors[int(random.integers(len(donors)))] for number in sorted(poor)}


def loss_of(leg: Leg, folder: Path) -> float:
    """Validation loss at the end of a leg; infinite where it did not get there."""
    found = checkpoint.newest(leg.place(folder))
    if found is None or len(found[0]) < (leg.until or 0):
        return math.inf
    return found[0][-1].validation_loss


def generation_file(folder: Path, generation: int) -> Path:
    return folder / TRIALS / f"generation-{generation:02d}.json"


def write_generation(folder: Path, legs: list[Leg]) -> None:
    """Decide a generation for good, before any of its legs starts."""
    generation = legs[0].generation or 0
    write(generation_file(folder, generation), [asdict(leg) for leg in legs])
    for leg in legs:
        if generation >= 2:
            # What the generation before went on from is needed no more; its facts are.
            for old in Leg(leg.number, {}, generation - 2).place(folder).glob("epoch-*"):
                shutil.rmtree(old)


def read_generations(folder: Path) -> list[list[Leg]]:
    """The generations decided so far, in order."""
    found: list[list[Leg]] = []
    while (file := generation_file(folder, len(found))).exists():
        found.append([Leg(**leg) for leg in json.loads(file.read_text())])
    return found


def _until(config: Config, generation: int) -> int:
    return min((generation + 1) * config.tune.grace_epochs, config.tune.max_epochs)


def _near(config: Config, settings: Settings, random: np.random.Generator) -> Settings:
    """Disturbed settings that the config allows; those given where none are found."""
    for _ in range(DRAWS):
        found = disturbed(config, settings, random)
        try:
            trial_config(config, found)
        except InputError:
            continue
        if found != settings:
            return found
    return settings


def _written(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
