"""The settings that a search tries: drawn at random or from a grid, all of them valid, no knob of theirs dead.

Knows configs alone: no data, no torch, no Ray.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from importlib.util import find_spec
from itertools import islice, product
from typing import Any

import numpy as np

from lstm_ray.config import Config, with_values
from lstm_ray.errors import InputError
from lstm_ray.sections.space import allowed, ends, is_whole
from lstm_ray.sections.tune import SpaceConfig

Settings = dict[str, Any]
"""``section.field`` to value, for every field of the space."""
DRAWS = 100
"""Attempts in a row at settings not drawn before, and a tenth as many for each that was; then the space is taken to hold no
more."""
LARGEST_GRID = 100_000
"""Combinations that are put in an order; of more, some are drawn at random."""
MOST_COMBINATIONS = 256
"""Combinations of values that are all checked against the config; of more, every value and as many at random."""
RESAMPLED, FACTORS = 0.25, (0.8, 1.2)
"""Disturbing settings: the chance that a value is drawn anew, else a range's is multiplied (Jaderberg et al. 2017)."""
SHAPES = ("model.hidden", "model.layers", "model.bidirectional", "model.channels", "window.patch")
"""Fields that give a trial LSTM weights of its own, beside those of the trained policy."""


def _sequence_steps(config: Config) -> int:
    return config.window.history + (config.train.origins - 1) * config.window.patch


DEAD: dict[str, tuple[Callable[[Config], bool], str]] = {
    "model.residual": (lambda c: c.model.layers == 1, "there is one layer, and only further ones add to their input"),
    "model.pooling": (lambda c: c.task != "classify", "only task 'classify' sums a sequence up"),
    "model.normalisation": (
        lambda c: c.task != "forecast",
        "it takes the level out of a target, which only forecasts have",
    ),
    "model.normalisation_steps": (
        lambda c: c.task != "forecast" or c.model.normalisation in ("none", "last"),
        "only model.normalisation mean, mean_deviation and auto of forecasts measure a level over steps",
    ),
    "model.channels": (
        lambda c: c.task != "forecast" or (len(c.data.target) == 1 and not c.data.awaits_roles),
        "it tells how several targets are read",
    ),
    "model.output": (lambda c: c.task != "forecast", "it bounds forecasts"),
    "model.linear": (lambda c: c.task == "label", "nothing is solved beside a labeller"),
    "train.origins": (lambda c: c.task == "classify", "a sequence to classify is taught as a whole"),
    "train.truncate_steps": (
        lambda c: c.train.truncate_steps is None or c.train.truncate_steps >= _sequence_steps(c),
        "a sequence has no more steps than that (window.history + (train.origins - 1) x window.patch)",
    ),
    "train.min_improvement": (
        lambda c: c.train.schedule != "plateau",
        "of trials, only train.schedule plateau uses it",
    ),
}
"""Fields without effect under some configs: when, and why. Fields of ``NOT_TUNABLE`` are refused under any."""
INITIAL = {
    path: f"it only says where weights start, and trials start from trained ones; vary one of {', '.join(SHAPES)} too"
    for path in ("model.forget_bias", "model.recurrent_init")
}


def trial_config(config: Config, settings: Mapping[str, Any]) -> Config:
    """The config a trial trains with: its settings, a budget of ``tune.max_epochs``, and no patience of its own, for the
    search decides when it ends. Raises InputError where the settings contradict the rest."""
    budget = config.tune.max_epochs
    return with_values(config, {"train.max_epochs": budget, "train.patience": budget, **settings})


def value_of(config: Config, path: str) -> Any:
    """The value of a field, as SECTION.FIELD."""
    return reduce(getattr, path.split("."), config)


def base_settings(config: Config) -> Settings:
    """The settings of the first trial: those the config has."""
    base = trial_config(config, {})
    return {path: value_of(base, path) for path in config.tune.space}


def require_searchable(config: Config) -> None:
    """Refuse a space in which a value contradicts the config or a field has no effect, before any work starts.

    Raises:
        InputError: it names the field, the value, and why; or the package that the search needs.
    """
    if config.tune.search == "optuna" and find_spec("optuna") is None:
        raise InputError("tune.search is optuna, which is not installed; pip install 'lstm-ray[optuna]', or use random")
    # A trial's config is parsed a few hundred times here; its own space need not be.
    bare = with_values(config, {"tune.space": {}, "tune.scheduler": "none"})
    found = [trial_config(bare, {})]
    for settings in _combinations(config):
        try:
            one = trial_config(bare, settings)
        except InputError as error:
            raise InputError(
                f"tune.space allows {_blamed(bare, settings)}, which the config does not: {error}"
            ) from None
        if settings.get("train.max_epochs", 0) is None or (one.train.max_epochs or 0) > config.tune.max_epochs:
            raise InputError(
                f"tune.space: train.max_epochs {one.train.max_epochs} is beyond tune.max_epochs {config.tune.max_epochs}; "
                "list lower ones, or raise the latter"
            )
        found.append(one)
    for path in config.tune.space:
        if len({str(value_of(one, path)) for one in found}) == 1:
            raise InputError(
                f"tune.space: '{path}' can only be {value_of(found[0], path)!r}, which it is already; add values or take it "
                "out of the space"
            )
        is_dead, why = DEAD.get(path, (lambda one: False, ""))
        if path in INITIAL and not any(shape in config.tune.space for shape in SHAPES):
            is_dead, why = (lambda one: True), INITIAL[path]
        if all(is_dead(one) for one in found[1:]):
            raise InputError(f"tune.space: '{path}' has no effect here: {why}; take it out of the space")


def draw(config: Config) -> list[Settings]:
    """The settings of every trial by the config's seed: first those of the base, then others, all different.

    ``search: random`` draws them (and ``optuna`` those it begins with); ``grid`` takes every combination of the choices, in
    an order by the seed where there are more than trials. Fewer than ``tune.trials`` where the space holds no more.

    Raises:
        InputError: of ``require_searchable``.
    """
    require_searchable(config)
    random, wanted = np.random.default_rng(config.seed), config.tune.trials
    proposals: Iterable[Settings] = iter(lambda: drawn(config, random), None)
    if config.tune.search == "grid" and num_combinations(config) <= LARGEST_GRID:
        every = list(_every(config))
        order = random.permutation(len(every)) if len(every) >= wanted else range(len(every))
        proposals = [every[index] for index in order]
    found, failed = [base_settings(config)], 0
    known = {repr(found[0])}
    for settings in proposals:
        if len(found) == wanted or failed >= DRAWS * (1 + len(found) // 10):
            break
        failed = failed + 1 if repr(settings) in known else 0
        if not failed:
            known.add(repr(settings))
            found.append(settings)
    return found


def num_combinations(config: Config) -> int:
    """Of the choices of a grid."""
    return math.prod(len(values.choice or ()) for values in config.tune.space.values())


def drawn(config: Config, random: np.random.Generator) -> Settings:
    """Settings at random."""
    return {path: _draw_one(path, values, random) for path, values in config.tune.space.items()}


def disturbed(config: Config, settings: Settings, random: np.random.Generator) -> Settings:
    """Settings near others, within the space (the explore step of Jaderberg et al. 2017).

    A value is drawn anew now and then; else a range's is multiplied by one of FACTORS, and a choice gives way to its
    neighbour in the list.
    """
    found = {}
    for path, values in config.tune.space.items():
        resampled, up = bool(random.random() < RESAMPLED), bool(random.random() < 0.5)
        listed = choices(path, values) if values.choice is not None else None
        if resampled or (listed is not None and settings[path] not in listed) or settings[path] is None:
            found[path] = _draw_one(path, values, random)
        elif listed is not None:
            place = listed.index(settings[path]) + (1 if up else -1)
            found[path] = listed[min(max(place, 0), len(listed) - 1)]
        else:
            found[path] = as_written(path, values, settings[path] * FACTORS[up])
    return found


def choices(path: str, values: SpaceConfig) -> list[Any]:
    """The values a field may take, as it holds them."""
    return [allowed(path, value) for value in values.choice or ()]


def as_written(path: str, values: SpaceConfig, number: float) -> Any:
    """A number of a range as it is tried: whole where the field is, else with the four digits that one would write."""
    low, high = ends(values)
    if is_whole(path):
        return int(min(max(round(number), low), high))
    return min(max(float(f"{number:.4g}"), low), high)


def _draw_one(path: str, values: SpaceConfig, random: np.random.Generator) -> Any:
    if values.choice is not None:
        found = choices(path, values)
        return found[int(random.integers(len(found)))]
    low, high = ends(values)
    # Each whole number has as much room as the others, the ends too.
    room = 0.5 if is_whole(path) else 0.0
    if values.uniform is not None:
        return as_written(path, values, float(random.uniform(low - room, high + room)))
    return as_written(path, values, math.exp(random.uniform(math.log(low - room), math.log(high + room))))


def _every(config: Config) -> Iterable[Settings]:
    """Every combination of the values to check of each field."""
    space = config.tune.space
    listed = [_to_check(path, values) for path, values in space.items()]
    return (dict(zip(space, values, strict=True)) for values in product(*listed))


def _to_check(path: str, values: SpaceConfig) -> list[Any]:
    """The choices, or both ends of a range; of whole numbers those between too, for other fields may ask for multiples."""
    if values.choice is not None:
        return choices(path, values)
    low, high = (as_written(path, values, end) for end in ends(values))
    between = range(low + 1, min(high, low + MOST_COMBINATIONS)) if is_whole(path) else ()
    return [low, high, *between]


def _combinations(config: Config) -> list[Settings]:
    """Combinations to check: all there are, or every value in one of them and some at random."""
    found = list(islice(_every(config), MOST_COMBINATIONS + 1))
    if len(found) <= MOST_COMBINATIONS:
        return found
    random = np.random.default_rng(config.seed)
    listed = [(path, value) for path, values in config.tune.space.items() for value in _to_check(path, values)]
    found = [drawn(config, random) | {path: value} for path, value in listed]
    return found + [drawn(config, random) for _ in range(MOST_COMBINATIONS)]


def _blamed(config: Config, settings: Settings) -> Settings:
    """The settings that the config refuses alone; all of them where none is."""
    for path, value in settings.items():
        try:
            trial_config(config, {path: value})
        except InputError:
            return {path: value}
    return settings
