"""Which of a few policies goes on: the simplest of those that validation cannot tell from the best. Knows policies and
their errors; knows no search and no Ray."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from lstm_ray.data.parts import Boundaries
from lstm_ray.data.windows import Segments
from lstm_ray.evaluate.choosing.validation import Errors, common_origins, dependence, validation_errors
from lstm_ray.evaluate.skill import standard_error
from lstm_ray.model.policy import Policy

TRAINED = 0
"""The number of the trained policy as it was, beside those of trials."""


@dataclass(frozen=True)
class Standing:
    """A policy beside the best one."""

    number: int
    num_parameters: int
    loss: float
    """Validation loss as its training measured it; infinite where none did."""
    metrics: dict[str, float]
    """Over the cases that all are measured on."""
    behind: float
    """How much worse than the best by the metric that decides; 0 or more."""
    error: float | None
    """Standard error of that difference; 0 for the best itself, None where validation is too short to tell."""

    @property
    def is_close(self) -> bool:
        """Whether it is at most one standard error behind; without one, only where it is as good as the best."""
        return self.behind <= (self.error or 0.0)


@dataclass(frozen=True)
class Selection:
    """Candidates and the choice among them."""

    standings: list[Standing]
    """The trained policy first."""
    num_cases: int
    """Windows, sequences or labelled steps that all were measured on."""
    history: int | None
    """The longest history among them, whose origins these are; None where all have the same."""

    @property
    def trained(self) -> Standing:
        return self.standings[0]

    @property
    def best(self) -> Standing:
        """By the metric that decides; of equals the simplest."""
        return min((one for one in self.standings if one.behind == 0), key=_simplicity)

    @property
    def close(self) -> list[Standing]:
        """From the best down to before the first that is more than one standard error behind it: who is worse than that one
        is no nearer to the best for differing from it more erratically."""
        ranked = sorted(self.standings, key=lambda one: one.behind)
        return list(takewhile(lambda one: one.is_close, ranked))

    @property
    def chosen(self) -> Standing:
        """The one with the fewest parameters of those that are close to the best: of equals the trained policy, then the
        one with the lower loss (the one-standard-error rule, Breiman et al. 1984)."""
        return min(self.close, key=_simplicity)


def select(
    policies: Mapping[int, Policy], losses: Mapping[int, float], segments: Segments, bounds: Boundaries
) -> Selection:
    """Measure policies on the validation cases that all of them can answer.

    Args:
        policies: by number; TRAINED is among them.
        losses: validation losses by number, where they are known.

    Raises:
        InputError: there is nothing to measure by.
    """
    numbers = [TRAINED, *sorted(set(policies) - {TRAINED})]
    trained = policies[TRAINED].config
    windows = [policies[number].config.window for number in numbers]
    origins_M = common_origins(segments, bounds, windows) if trained.task == "forecast" else None
    errors = [validation_errors(policies[number], segments, bounds, origins_M) for number in numbers]
    costs = [float(one.cost(*(part.sum(0) for part in one.parts))) for one in errors]
    best = int(np.argmin(costs))
    standings = []
    for number, own, cost in zip(numbers, errors, costs, strict=True):
        error = _paired_error(own, errors[best], dependence(trained), trained.task == "classify")
        size, loss = policies[number].num_parameters, losses.get(number, math.inf)
        standings.append(Standing(number, size, loss, own.metrics, cost - costs[best], error))
    histories = {window.history for window in windows}
    return Selection(standings, len(errors[0].error_M), max(histories) if len(histories) > 1 else None)


def _paired_error(own: Errors, best: Errors, steps: int, alone: bool) -> float | None:
    """Standard error of the difference in the metric that decides, from blocks of time.

    Args:
        steps: how far apart cases still share something.
        alone: each case is a sequence of its own: their order stands for time, which they need not have in common.
    """
    if own is best:
        return 0.0
    step_M = np.argsort(np.argsort(own.step_M, kind="stable")) if alone else own.step_M
    num = len(own.parts)
    _, error, _ = standard_error(
        lambda *sums: own.cost(*sums[:num]) - best.cost(*sums[num:]), [*own.parts, *best.parts], step_M, steps
    )
    return float(error) if error is not None and np.isfinite(error) else None


def _simplicity(one: Standing) -> tuple[int, bool, float]:
    return one.num_parameters, one.number != TRAINED, one.loss
