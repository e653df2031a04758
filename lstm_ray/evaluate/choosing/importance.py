"""Which settings a search's losses hang on. Knows numbers and names of settings; knows no training.

Shapes: T trials, F features of their settings, S shuffles, V values of one setting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ENOUGH = 6
"""Trials that anything can be said from."""
SHUFFLES = 2_000
UNLIKELY = 0.1
"""What a larger share of shuffled losses would do as well says nothing."""
TREES, LEAF = 100, 2
MOST_VALUES, BACKGROUND, SAMPLE = 24, 48, 2_000
"""Values of a setting, and other trials' settings that each is seen among; and made-up settings that give the variance."""


@dataclass(frozen=True)
class Importance:
    """What one setting has to do with the loss."""

    path: str
    share: float
    """Of the variance of the loss (as a rank), what this setting explains alone, 0 to 1 (functional ANOVA)."""
    chance: float
    """Share of shuffles of the losses that go along with the setting as strongly."""
    direction: float | None
    """Rank correlation with the loss: below zero, higher values went with a lower loss. None where values are names."""

    @property
    def is_likely(self) -> bool:
        return self.chance <= UNLIKELY


@dataclass(frozen=True)
class Importances:
    """Of every setting that differs between trials."""

    of: list[Importance]
    """The largest share first."""
    foretold: float
    """Of the variance of losses, what a forest says of trials it was not grown on; 0 or less: it knows nothing."""
    num_trials: int


def importances(settings: Sequence[dict[str, Any]], losses: Sequence[float]) -> Importances | None:
    """Main effects of settings on the rank of the loss, by a random forest (Hutter et al. 2014, fANOVA), each with a
    permutation test of its own that needs no forest.

    None with fewer than ENOUGH trials, settings that are all alike or losses that are.
    """
    if len(settings) < ENOUGH or len(set(losses)) < 2:
        return None
    columns = {path: [one[path] for one in settings] for path in settings[0]}
    columns = {path: values for path, values in columns.items() if len(set(map(str, values))) > 1}
    if not columns:
        return None
    loss_T = ranks(losses)
    shares, foretold = _main_effects(columns, loss_T)
    found = [Importance(path, shares[path], *_association(values, loss_T)) for path, values in columns.items()]
    return Importances(sorted(found, key=lambda one: -one.share), foretold, len(settings))


def ranks(values: Sequence[float]) -> NDArray:
    """Ranks from 0, equals sharing the mean of theirs."""
    _, place, count = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True, return_counts=True)
    found: NDArray = (np.cumsum(count) - (count + 1) / 2)[place]
    return found


def _association(values: Sequence[Any], loss_T: NDArray) -> tuple[float, float | None]:
    """How often shuffled losses go along with values as strongly, and the rank correlation of numbers.

    Numbers are held against Spearman's correlation, names against the variance between their means (Kruskal & Wallis 1952).
    """
    shuffled_ST = np.random.default_rng(0).permuted(np.tile(loss_T, (SHUFFLES, 1)), axis=1) - loss_T.mean()
    centred_T = loss_T - loss_T.mean()
    if _are_numbers(values):
        value_T = ranks(values) - np.mean(ranks(values))
        correlation = float(value_T @ centred_T / np.sqrt((value_T @ value_T) * (centred_T @ centred_T)))
        strength, by_chance_S = abs(value_T @ centred_T), np.abs(shuffled_ST @ value_T)
    else:
        correlation = None
        member_TV = _one_hot(values) / np.sqrt(_one_hot(values).sum(0))
        strength, by_chance_S = ((centred_T @ member_TV) ** 2).sum(), ((shuffled_ST @ member_TV) ** 2).sum(1)
    return float(np.mean(by_chance_S >= strength - 1e-9)), correlation


def _main_effects(columns: dict[str, list[Any]], loss_T: NDArray) -> tuple[dict[str, float], float]:
    """Share of the forest's variance that each setting explains alone, and the forest's R² out of its bags.

    A setting's main effect is the forest's mean answer at each of its values over the other settings; the variance that
    this has is set beside that of answers to settings drawn apart from each other.
    """
    # scikit-learn takes a second to import, and a short search does not need it.
    from sklearn.ensemble import RandomForestRegressor

    random = np.random.default_rng(0)
    parts = [_encoded(values) for values in columns.values()]
    x_TF = np.concatenate(parts, axis=1)
    forest = RandomForestRegressor(TREES, min_samples_leaf=LEAF, oob_score=True, random_state=0).fit(x_TF, loss_T)
    ends = np.cumsum([part.shape[1] for part in parts])
    places = [slice(end - part.shape[1], end) for end, part in zip(ends, parts, strict=True)]
    apart = np.concatenate([part[random.integers(len(part), size=SAMPLE)] for part in parts], axis=1)
    whole = float(forest.predict(apart).var())
    background_BF = x_TF[random.permutation(len(x_TF))[:BACKGROUND]]
    shares = {}
    for path, part, place in zip(columns, parts, places, strict=True):
        value_VF = part[random.permutation(len(part))[:MOST_VALUES]] if len(part) > MOST_VALUES else part
        asked = np.tile(background_BF, (len(value_VF), 1))
        asked[:, place] = np.repeat(value_VF, len(background_BF), axis=0)
        mean_V = forest.predict(asked).reshape(len(value_VF), -1).mean(1)
        shares[path] = min(1.0, float(mean_V.var()) / whole) if whole else 0.0
    return shares, float(forest.oob_score_)


def _encoded(values: Sequence[Any]) -> NDArray:
    """Numbers as they are, for trees split by order alone; names as a column each, [T, F]."""
    return np.asarray(values, dtype=np.float64)[:, None] if _are_numbers(values) else _one_hot(values)


def _one_hot(values: Sequence[Any]) -> NDArray:
    names, of = np.unique([str(value) for value in values], return_inverse=True)
    return np.eye(len(names))[of]


def _are_numbers(values: Sequence[Any]) -> bool:
    """Switches count as numbers: false before true."""
    return all(isinstance(value, int | float) for value in values)
