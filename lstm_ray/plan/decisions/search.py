"""Search for the plan that costs least. Knows a cost and the plans that are allowed; knows no futures and no models.

Shapes: N plans of a round, E elites, D values of a plan, R rounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lstm_ray.plan.decisions.actions import Space
from lstm_ray.sections.decision import DecisionConfig

Cost = Callable[[NDArray], NDArray]
"""Plans [N, D] that keep their constraints -> what each costs [N]."""
SMOOTHING = 0.8
"""Share of the elites in a round's new mean and deviation."""
KEPT = 0.3
"""Share of the elites that the next round tries again beside its own: good plans are not lost (Pinneri et al. 2020)."""
FLOOR = 0.05
"""Least deviation after the first round, as a share of a value's range; it shrinks to nothing by the last round."""
POINTS, FAR = 1.5, 3.0
"""Plans for each number of a quadratic through them, and how many of their deviations away its least value is tried."""
MOST_FITTED = 32
"""Values of a plan, beyond which a quadratic has more numbers than plans can tell, or than are quickly found."""
FINALISTS = 3
"""Plans that are judged again."""


@dataclass(frozen=True)
class Found:
    """What a search found on its own futures."""

    best_FD: NDArray
    """The best plans, the very best first, all different."""
    cost_F: NDArray
    best_R: NDArray
    """Least cost until the end of each round."""
    mean_R: NDArray
    """Mean cost of the plans of each round."""
    spread: float
    """From the 5th to the 95th percentile of the costs of random plans: how much there is to choose."""
    rounds: int
    """Rounds that were searched: fewer than asked where time ran out."""


def cross_entropy(
    cost: Cost,
    space: Space,
    first_FD: NDArray,
    decision: DecisionConfig,
    random: np.random.Generator,
    in_time: Callable[[], bool] = lambda: True,
) -> Found:
    """The cross-entropy method (Rubinstein and Kroese 2004): draw plans about a mean, move it to the best of them, and draw
    closer to it. Each round also tries where a quadratic through the best plans so far is least, as they do whose last percent
    is slow to come by sampling alone (Hansen 2019).

    Args:
        first_FD: plans that are tried first of all, so that what is found is no worse on these futures.
        in_time: asked after each round; the search ends where it says no.
    """
    low_D, high_D = space.bounds
    width_D = high_D - low_D
    mean_D, deviation_D = (low_D + high_D) / 2, width_D / 2
    log = _Log(cost)
    elite_ED = first_FD
    for turn in range(decision.rounds):
        drawn_ND = random.normal(mean_D, deviation_D, (decision.candidates, len(mean_D)))
        kept = len(first_FD) if turn == 0 else max(1, round(KEPT * decision.num_elites))
        valley = [log.valley()] if turn else []
        # The mean itself is tried, too: averages of good plans are often better than each.
        given = np.concatenate([elite_ED[:kept], mean_D[None], *valley, drawn_ND])[: decision.candidates]
        flat_ND = space.project(given)
        order_N = np.argsort(log.judged(flat_ND), kind="stable")
        elite_ED = flat_ND[order_N[: decision.num_elites]]
        mean_D = SMOOTHING * elite_ED.mean(0) + (1 - SMOOTHING) * mean_D
        floor_D = FLOOR * width_D * (1 - (turn + 1) / decision.rounds)
        deviation_D = np.maximum(SMOOTHING * elite_ED.std(0) + (1 - SMOOTHING) * deviation_D, floor_D)
        if not in_time():
            break
    return log.found()


def shooting(
    cost: Cost, space: Space, first_FD: NDArray, decision: DecisionConfig, random: np.random.Generator
) -> Found:
    """As many plans at random, drawn as the first round of the cross-entropy method draws them: its control."""
    low_D, high_D = space.bounds
    log = _Log(cost)
    for turn in range(decision.rounds):
        drawn_ND = random.normal((low_D + high_D) / 2, (high_D - low_D) / 2, (decision.candidates, len(low_D)))
        given = np.concatenate([first_FD, drawn_ND])[: decision.candidates] if turn == 0 else drawn_ND
        log.judged(space.project(given))
    return log.found()


class _Log:
    """Every plan that was tried, and what it cost."""

    def __init__(self, cost: Cost) -> None:
        self._cost = cost
        self._rounds: list[tuple[NDArray, NDArray]] = []

    def judged(self, flat_ND: NDArray) -> NDArray:
        cost_N = self._cost(flat_ND)
        self._rounds.append((flat_ND, cost_N))
        return cost_N

    def valley(self) -> NDArray:
        """Where a quadratic through the best plans is least, within reach of them, [1, D]; [0, D] of too few for one."""
        flat_ND, cost_N = (np.concatenate(part) for part in zip(*self._rounds, strict=True))
        num = flat_ND.shape[1]
        one_P, other_P = np.triu_indices(num)
        enough = int(POINTS * (1 + num + len(one_P)))
        if num > MOST_FITTED or len(flat_ND) < enough:
            return np.empty((0, num))
        best = np.argsort(cost_N, kind="stable")[:enough]
        centre_D, unit_D = flat_ND[best].mean(0), flat_ND[best].std(0) + 1e-12
        at_ND = (flat_ND[best] - centre_D) / unit_D
        terms = np.concatenate([np.ones((enough, 1)), at_ND, at_ND[:, one_P] * at_ND[:, other_P]], axis=1)
        fitted = np.linalg.lstsq(terms, cost_N[best], rcond=None)[0]
        bend_DD = np.zeros((num, num))
        bend_DD[one_P, other_P] = fitted[1 + num :]
        size_D, axes_DD = np.linalg.eigh(bend_DD + bend_DD.T)
        # Where it bends down, or hardly at all, it says nothing of where to go.
        size_D = np.maximum(np.abs(size_D), 1e-6 * np.abs(size_D).max() + 1e-12)
        step_D = -axes_DD @ ((axes_DD.T @ fitted[1 : 1 + num]) / size_D)
        lowest_1D: NDArray = (centre_D + unit_D * np.clip(step_D, -FAR, FAR))[None]
        return lowest_1D

    def found(self) -> Found:
        flat, cost = (np.concatenate(part) for part in zip(*self._rounds, strict=True))
        order = np.argsort(cost, kind="stable")
        _, first = np.unique(flat[order], axis=0, return_index=True)
        chosen = order[np.sort(first)[:FINALISTS]]
        low, high = np.quantile(self._rounds[0][1], [0.05, 0.95])
        return Found(
            best_FD=flat[chosen],
            cost_F=cost[chosen],
            best_R=np.minimum.accumulate([c.min() for _, c in self._rounds]),
            mean_R=np.array([c.mean() for _, c in self._rounds]),
            spread=float(high - low),
            rounds=len(self._rounds),
        )
