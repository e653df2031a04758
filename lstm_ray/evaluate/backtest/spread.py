"""Scores of one recipe over stretches and seeds, and how they spread. NumPy alone.

Legend: F stretches, S seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lstm_ray.errors import InputError
from lstm_ray.evaluate.choosing.candidates import metric_of

Metrics = Mapping[str, float | None]


@dataclass(frozen=True)
class Stretch:
    """What came of one stretch."""

    test: tuple[int, int]
    trained: tuple[int, int]
    """Steps that policies and baselines were trained on."""
    num: int
    """Windows (sequences, labelled steps) that were scored."""
    policies: dict[int, Metrics]
    """By seed."""
    epochs: dict[int, int]
    """Trained, by seed."""
    baselines: dict[str, Metrics]


@dataclass(frozen=True)
class Spread:
    """The policies' scores and what they are held against, in stretches where something was measured."""

    stretches: list[Stretch]
    score_FS: NDArray
    rivals: list[str]
    """The best baseline of each stretch."""
    rival_F: NDArray
    metric: str

    @property
    def skills(self) -> NDArray:
        """Share of the best baseline's error (or of what its score lacks of 1) that is gone; NaN where it makes
        none, [F, S]."""
        mine_FS, other_F = self.score_FS, self.rival_F
        if self.metric != "mae":
            mine_FS, other_F = 1 - mine_FS, 1 - other_F
        return 1 - mine_FS / np.where(other_F == 0, np.nan, other_F)[:, None]

    @property
    def won(self) -> NDArray:
        """Stretches in which the policies do better on average, [F]."""
        better: NDArray = (self.score_FS.mean(axis=1) - self.rival_F) * (-1 if self.metric == "mae" else 1) > 0
        return better


def spread_of(stretches: Sequence[Stretch], answers: str) -> Spread:
    """Raises InputError where nothing was measured in any stretch."""
    metric = metric_of(answers)
    held = [one for one in stretches if all(found[metric] is not None for found in one.policies.values())]
    if not held:
        raise InputError("nothing was measured in any stretch of the backtest; move the split to where it was")
    rivals = [_best(one.baselines, metric) for one in held]
    rival_F = np.array([one.baselines[who][metric] for one, who in zip(held, rivals, strict=True)], dtype=np.float64)
    score_FS = np.array([[own[metric] for own in one.policies.values()] for one in held], dtype=np.float64)
    return Spread(held, score_FS, rivals, rival_F, metric)


def _best(baselines: Mapping[str, Metrics], metric: str) -> str:
    known = {who: value for who, own in baselines.items() if (value := own[metric]) is not None}
    return (min if metric == "mae" else max)(known, key=lambda who: known[who])


def deviations(value_FS: NDArray) -> tuple[float | None, float | None]:
    """Standard deviation of the stretches' means, and of the seeds within a stretch; None where there is but one."""
    between = float(value_FS.mean(axis=1).std(ddof=1)) if len(value_FS) > 1 else None
    within = float(np.sqrt(value_FS.var(axis=1, ddof=1).mean())) if value_FS.shape[1] > 1 else None
    return between, within
