"""The largest scores of usual data, and a limit that follows when scores drift. Knows no columns and no models.

A score's conformal p-value is the share of usual scores at least as large, itself counted (Vovk, Gammerman & Shafer 2005):
where live data are like usual ones, a share of at most r of them has a p-value of r or less. Live data wander, so the limit
is a multiple of the one found before, and the multiple follows what comes (adaptive conformal inference, Gibbs & Candès 2021,
in its multiplicative form: each score over a quantile raises it, each below lowers it, so that in the long run the share of
scores over it is right, whatever they are). Followed is the score that a tenth of usual ones exceed: its level moves when
errors as a whole grow, and hardly when one value is wild, while a limit that followed its own share alone would learn to
overlook anomalies as soon as these are more than r. How the far tail lies beside it is followed too, within a factor of 2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_RANKS = 48
"""Scores kept of a tail; between two the larger stands, so that no p-value is told too small."""
COMMON = 0.1
"""Share of usual scores that exceed the one which is followed."""
STRIDE, TAIL_STRIDE = 0.03, 0.05
"""By which the logarithms of the level and of the limit beside it rise with a score over them."""
MOST, TAIL_MOST = math.log(1e6), math.log(2)
"""Of these; neither falls below 0: what was usual before stays so."""
CHUNK = 64
"""Scores judged by one limit, before it follows."""


@dataclass(frozen=True)
class Tail:
    """The largest of ``count`` usual scores, thinned."""

    count: int
    rank_K: NDArray
    """int64, ascending from 1."""
    score_K: NDArray
    """Descending: the rank-largest scores."""

    @classmethod
    def of(cls, scores: NDArray) -> Tail | None:
        """None where there are no finite scores."""
        found = np.sort(scores[np.isfinite(scores)].astype(np.float64))[::-1]
        if not len(found):
            return None
        rank_K = np.unique(np.geomspace(1, len(found), MOST_RANKS).round().astype(np.int64))
        return cls(len(found), rank_K, found[rank_K - 1])

    def as_dict(self) -> dict[str, Any]:
        rounded = [float(f"{score:.7g}") for score in self.score_K]
        return {"count": self.count, "ranks": self.rank_K.tolist(), "scores": rounded}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any] | None) -> Tail | None:
        if given is None:
            return None
        return cls(given["count"], np.asarray(given["ranks"], np.int64), np.asarray(given["scores"], np.float64))

    def limit(self, rate: float) -> float | None:
        """Scores over it have a p-value of at most ``rate``; None where there are too few to say that of any."""
        room = math.floor(rate * (self.count + 1))
        if room < 1:
            return None
        return float(self.score_K[np.searchsorted(self.rank_K, room, side="right") - 1])

    def p(self, score: float) -> float:
        """The p-value of a score, rounded up to a rank that is kept."""
        over = int(np.searchsorted(-self.score_K, -score, side="right"))
        return float(self.rank_K[over] / (self.count + 1)) if over < len(self.rank_K) else 1.0


class Limit:
    """Tells which scores are unusual.

    Args:
        rate: share of usual scores that it calls unusual.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.judged = 0
        self._level = self._tail = 0.0

    @property
    def multiple(self) -> float:
        """Of the limit found before."""
        return math.exp(self._level + self._tail)

    def over(self, multiple_N: NDArray, common_N: NDArray) -> NDArray:
        """Which scores are unusual, [N] bool.

        Args:
            multiple_N: each score divided by its tail's limit, in the order of time.
            common_N: and by the score that COMMON of its tail exceed; 0 where the level is not to be followed.
        """
        over_N = np.zeros(len(multiple_N), bool)
        for first in range(0, len(multiple_N), CHUNK):
            part = slice(first, first + CHUNK)
            over_N[part] = multiple_N[part] > self.multiple
            above, number = common_N[part] > math.exp(self._level), len(over_N[part])
            self._level = _within(self._level + STRIDE * (np.count_nonzero(above) - COMMON * number), MOST)
            rise = TAIL_STRIDE * (np.count_nonzero(over_N[part]) - self.rate * number)
            self._tail = _within(self._tail + rise, TAIL_MOST)
        self.judged += len(over_N)
        return over_N


def _within(value: float, most: float) -> float:
    return min(most, max(0.0, value))
