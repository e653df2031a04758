"""How much worse a model answers when one input, or one stretch of its past, is another window's (permutation importance,
Breiman 2001; of any model, Fisher, Rudin & Dominici 2019). Knows what a model loses, not how it answers.

Legend: M windows (sequences), R rows, K repeats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from lstm_ray.data.windows import Segments
from lstm_ray.evaluate.explain.inputs import Input, donors, mixed, varies
from lstm_ray.evaluate.skill import CONFIDENCE, standard_error
from lstm_ray.model.attribution import Attribution

REPEATS = 4
NEGLIGIBLE = 0.01
"""Increase, as a share of the error, up to which an input or the oldest part of a history is called useless."""


@dataclass(frozen=True)
class Question:
    """Some windows, cut out to be changed alone, and what a model loses on them."""

    whole: Segments
    """Each window is a segment."""
    inputs: list[Input]
    stretches: dict[str, NDArray]
    """Rows of each stretch of the past, bool [R], from the newest; empty where steps have no age."""
    loss: Callable[[Segments], NDArray]
    """What each window costs, [M]; NaN where nothing was measured."""
    metric: str
    """The loss in words."""
    step_M: NDArray
    """Where windows lie in time."""
    dependence: int
    """Steps apart at which windows still share what came."""
    attribute: Callable[[int], tuple[Attribution, str]]
    """What moved the answers to so many of the windows at most, and the unit of these."""
    ages: dict[str, NDArray] = field(default_factory=dict)
    """Steps of each stretch in what ``attribute`` gives, bool [T]; empty where steps have no age."""
    things: str = "windows"

    @property
    def history(self) -> list[Input]:
        """Inputs that are read as they were."""
        return [one for one in self.inputs if one.has_lags]


@dataclass(frozen=True)
class Importance:
    """What one input or stretch is worth."""

    name: str
    increase: float
    """Of the loss, as a share of what it is with everything in place."""
    reach: float
    """How far the 95 % interval of that reaches to either side."""

    @property
    def is_clear(self) -> bool:
        return self.increase > self.reach

    @property
    def is_useless(self) -> bool:
        """The interval leaves little room for any worth."""
        return self.increase + self.reach <= NEGLIGIBLE

    def facts(self) -> dict[str, float]:
        return {"increase": self.increase, "reach": self.reach}


@dataclass(frozen=True)
class Importances:
    """Everything that was asked of one model."""

    base: float
    """Loss with everything in place."""
    num: int
    by_input: list[Importance]
    by_lag: list[Importance]
    by_both: NDArray
    """Increase by input of the history and by stretch, [inputs, stretches]; empty where there is but one of either."""
    tail: tuple[int, Importance] | None
    """From which stretch on all the oldest ones may go, and what they are worth together; None where none may."""

    def facts(self) -> dict[str, Any]:
        return {
            "base": self.base,
            "windows": self.num,
            "by_input": {one.name: one.facts() for one in self.by_input},
            "by_lag": {one.name: one.facts() for one in self.by_lag},
        }


def num_measurements(question: Question) -> int:
    """How often ``importances`` asks the model, at most."""
    lags = len(question.stretches)
    both = len(question.history) * lags if len(question.history) > 1 else 0
    return 1 + REPEATS * (len(question.inputs) + lags + 1) + both


def importances(
    question: Question, seed: int, advance: Callable[[str], None] = lambda words: None
) -> Importances | None:
    """What every input and every stretch of the past is worth; None where the model loses nothing, or nothing is measured.

    An input that never varies has no worth: nothing could stand for it.
    """
    if len(question.whole.series) < 2:
        return None
    before_M = question.loss(question.whole)
    advance("as they are")
    known_M = np.isfinite(before_M)
    if known_M.sum() < 2 or not before_M[known_M].sum() > 0:
        return None
    base = float(before_M[known_M].mean())
    series_M = np.asarray(question.whole.series)

    def ask(name: str, inputs: Sequence[Input], where_R: NDArray | None = None, repeats: int = REPEATS) -> Importance:
        """The same donors stand in for every input, so that these are compared on the same windows."""
        if not any(varies(question.whole, one) for one in inputs):
            return Importance(name, 0.0, 0.0)
        random = np.random.default_rng([seed, 2])
        among_M = np.zeros(len(series_M)) if all(one.fixed for one in inputs) else series_M
        more_KM = np.empty((repeats, int(known_M.sum())))
        for repeat in range(repeats):
            damaged = mixed(question.whole, inputs, donors(among_M, random), where_R)
            more_KM[repeat] = (question.loss(damaged) - before_M)[known_M]
            advance(name)
        increase, reach = _mean(more_KM, question.step_M[known_M], question.dependence)
        return Importance(name, increase / base, reach / base)

    by_input = [ask(one.name, [one]) for one in question.inputs]
    by_lag = [ask(name, question.history, where_R) for name, where_R in question.stretches.items()]
    by_both = np.empty((0, 0))
    if len(question.history) > 1 and len(by_lag) > 1:
        by_both = np.array(
            [
                [ask(f"{one.name}, {name}", [one], where_R, 1).increase for name, where_R in question.stretches.items()]
                for one in question.history
            ]
        )
    first = len(by_lag)
    while first > 1 and by_lag[first - 1].increase <= NEGLIGIBLE:
        first -= 1
    tail = None
    if first < len(by_lag):
        names = list(question.stretches)[first:]
        rest = ask("the rest", question.history, np.any([question.stretches[name] for name in names], axis=0))
        tail = (first, rest) if rest.is_useless else None
    return Importances(base, int(known_M.sum()), by_input, by_lag, by_both, tail)


def _mean(more_KM: NDArray, step_M: NDArray, dependence: int) -> tuple[float, float]:
    """Mean increase, and how far its 95 % interval reaches: over blocks of time, and over repeats; where time is too short
    for that, over stretches in which windows share what came, and where it holds one of these, over repeats alone."""
    repeats, num = more_KM.shape
    over_repeats = float(more_KM.mean(1).std(ddof=1)) / np.sqrt(repeats) if repeats > 1 else 0.0
    mean, deviation, blocks = standard_error(np.divide, [more_KM.mean(0), np.ones(num)], step_M, dependence)
    if deviation is None:
        _, stretch_M = np.unique((step_M - step_M.min()) // dependence, return_inverse=True)
        blocks = int(stretch_M.max()) + 1
        if blocks < 2:
            return float(mean), float(stdtrit(max(1, repeats - 1), (1 + CONFIDENCE) / 2)) * over_repeats
        deviation = (np.bincount(stretch_M, more_KM.mean(0)) / np.bincount(stretch_M)).std(ddof=1) / np.sqrt(blocks)
    size = float(np.hypot(float(deviation), over_repeats))
    return float(mean), float(stdtrit(blocks - 1, (1 + CONFIDENCE) / 2)) * size
