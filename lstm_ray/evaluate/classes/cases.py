"""What classifiers answered, case by case, beside the truth: what findings and figures are made from. Knows no model.

Legend: M cases (sequences, or labelled steps), K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from numpy.typing import NDArray

from lstm_ray.data.schema import Schema
from lstm_ray.data.timeline import calendar
from lstm_ray.evaluate.classes.metrics import OF_PROBABILITIES, ClassSums, class_sums
from lstm_ray.evaluate.names import POLICY


@dataclass(frozen=True)
class Cases:
    """Answers of the policy and of the baselines."""

    classes: list[str]
    unit: str
    """What has a class, in the plural: sequences, or steps."""
    label_M: NDArray
    """int64"""
    probabilities: Mapping[str, NDArray]
    """By model, [M, K]; the policy's first."""
    step_M: NDArray
    """Each case's first (or own) step on the common time axis."""
    schema: Schema
    taught_K: NDArray
    """Cases of each class in the training part."""
    hard: frozenset[str] = frozenset()
    """Models that name a class without telling how likely it is."""

    def __len__(self) -> int:
        return len(self.label_M)

    @cached_property
    def sums(self) -> dict[str, ClassSums]:
        return {who: class_sums(p, self.label_M, self.classes) for who, p in self.probabilities.items()}

    @cached_property
    def metrics(self) -> dict[str, dict[str, float | None]]:
        """By model."""
        found = {who: sums.metrics() for who, sums in self.sums.items()}
        for who in self.hard & found.keys():
            found[who] |= dict.fromkeys(OF_PROBABILITIES)
        return found

    @cached_property
    def rival(self) -> str:
        """The baseline with the best macro F1."""
        return max((who for who in self.probabilities if who != POLICY), key=self.macro_f1)

    @cached_property
    def teller(self) -> str:
        """The best baseline that tells how likely a class is."""
        return max((who for who in self.probabilities if who not in {POLICY, *self.hard}), key=self.macro_f1)

    def macro_f1(self, name: str) -> float:
        return self.metrics[name]["macro_f1"] or 0.0

    def right(self, name: str) -> NDArray:
        """Which cases a model tells right, bool [M]."""
        right_M: NDArray = self.probabilities[name].argmax(axis=1) == self.label_M
        return right_M

    @cached_property
    def local_times(self) -> NDArray | None:
        """Each case's time on the calendar's clock; None where steps have no times."""
        if not self.schema.is_time:
            return None
        return calendar.local(self.schema.times(self.step_M), self.schema.time_zone)
