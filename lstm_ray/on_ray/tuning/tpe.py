"""Settings that Optuna's TPE proposes from the trials before. Knows no Ray, and keeps no state between proposals."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lstm_ray.config import Config
from lstm_ray.errors import InputError
from lstm_ray.run_dir import digest
from lstm_ray.sections.space import ends, is_whole
from lstm_ray.sections.tune import SpaceConfig
from lstm_ray.space import DRAWS, Settings, as_written, choices, trial_config

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

FEWEST_RANDOM, RANDOM_SHARE = 4, 4
"""Trials at random before any is proposed: a part in RANDOM_SHARE of all, FEWEST_RANDOM at least."""


@dataclass
class Tried:
    """A trial as the sampler sees it."""

    settings: Settings
    losses: dict[int, float] = field(default_factory=dict)
    """Number of epochs to the loss of the best weights so far."""
    ended: bool = False
    failed: bool = False


def propose(config: Config, number: int, tried: Sequence[Tried]) -> Settings | None:
    """Settings unlike those tried, by the tree-structured Parzen estimator (Bergstra et al. 2011; running trials count as
    poor ones, so that two at once are not alike). The same seed, number and trials give the same settings.

    Returns:
        None where the space seems to hold no more.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {path: _distribution(path, values) for path, values in config.tune.space.items()}
    frozen = [_frozen(config, one, distributions) for one in tried]
    for attempt in range(DRAWS):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                seed=int(digest([config.seed, number, attempt])[:8], 16),
                n_startup_trials=max(FEWEST_RANDOM, config.tune.trials // RANDOM_SHARE),
                constant_liar=True,
            )
        study = optuna.create_study(sampler=sampler)
        study.add_trials(frozen)
        found = study.ask(dict(distributions)).params
        settings = {path: _setting(path, config.tune.space[path], value) for path, value in found.items()}
        if not any(settings == one.settings for one in tried) and _is_allowed(config, settings):
            return settings
    return None


def _distribution(path: str, values: SpaceConfig) -> BaseDistribution:
    from optuna import distributions

    if values.choice is not None:
        # By their places: Optuna knows no lists, and takes 1, 1.0 and true for one.
        return distributions.CategoricalDistribution(range(len(values.choice)))
    low, high = ends(values)
    log = values.loguniform is not None
    if is_whole(path):
        return distributions.IntDistribution(int(low), int(high), log=log)
    return distributions.FloatDistribution(low, high, log=log)


def _setting(path: str, values: SpaceConfig, found: Any) -> Any:
    return choices(path, values)[found] if values.choice is not None else as_written(path, values, found)


def _frozen(config: Config, one: Tried, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    """A trial with those of its settings that lie in the space: the base's need not."""
    from optuna.trial import TrialState, create_trial

    params: dict[str, Any] = {}
    for path, values in config.tune.space.items():
        value = one.settings[path]
        if values.choice is not None:
            listed = choices(path, values)
            params |= {path: listed.index(value)} if value in listed else {}
        elif value is not None and ends(values)[0] <= value <= ends(values)[1]:
            params[path] = value
    budget = one.settings.get("train.max_epochs") or config.tune.max_epochs
    state = TrialState.RUNNING
    if one.ended or one.failed:
        state = TrialState.COMPLETE if one.failed or len(one.losses) >= budget else TrialState.PRUNED
    # What failed is as bad as can be; what was stopped early is judged beside others at its epoch.
    value = float("inf") if one.failed else min(one.losses.values(), default=float("inf"))
    return create_trial(
        state=state,
        value=value if state == TrialState.COMPLETE else None,
        params=params,
        distributions={path: distributions[path] for path in params},
        intermediate_values=one.losses if state == TrialState.PRUNED else None,
    )


def _is_allowed(config: Config, settings: Settings) -> bool:
    try:
        trial_config(config, settings)
    except InputError:
        return False
    return True
