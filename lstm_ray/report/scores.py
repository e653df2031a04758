"""The policy beside its baselines: which number is best and by how much. Knows ``evaluate/metrics.json``, no HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from lstm_ray.evaluate.names import METRICS, best_of, metric, ordered

__all__ = ["METRICS", "Comparison", "Scores", "Verdict", "comparison", "metric", "ordered", "verdict"]

Score = Mapping[str, float | None]

HEADLINE = ("mae", "rmse", "macro_f1", "accuracy")
"""Metrics that may head the page, the first that is there: those that a policy is chosen by, then their neighbours."""

UNITS = {"forecast": "windows", "classify": "sequences", "label": "labelled steps"}
"""What is counted, by task."""
ROOTS = {"mse": "rmse"}
"""Metrics that are not shown beside their root, which says the same."""
POLICY_STAGES = ("train", "plan", "tune")


class Scores(BaseModel):
    """``evaluate/metrics.json``, as far as the page reads it."""

    task: str
    policy: str
    """The stage whose policy was chosen."""
    split: str
    num_windows: int
    metrics: dict[str, float | None]
    baselines: dict[str, dict[str, float | None]]
    scaled: dict[str, float | None] = {}
    baselines_scaled: dict[str, dict[str, float | None]] = {}
    skill_interval: tuple[float, float] | None = None
    """Where the skill against the best baseline lies with 95 % confidence, if that could be told."""


@dataclass(frozen=True)
class Verdict:
    """The headline metric of the test part, for the policy and every baseline that has it."""

    name: str
    stage: str
    """The stage whose policy was chosen."""
    value: float
    baselines: dict[str, float]
    """From good to bad."""
    interval: tuple[float, float] | None

    @property
    def policy(self) -> str:
        return called(self.stage)

    @property
    def best_baseline(self) -> str | None:
        return next(iter(self.baselines), None)

    @property
    def skill(self) -> float | None:
        """Share of the best baseline's error that the policy removes; an error is 1 - score where higher is better.

        None without a baseline, or where the baseline makes no error.
        """
        if self.best_baseline is None:
            return None
        rival, value = self.baselines[self.best_baseline], self.value
        if METRICS[self.name].better == "higher":
            rival, value = 1 - rival, 1 - value
        return 1 - value / rival if rival > 0 else None

    @property
    def standing(self) -> Literal["ahead", "level", "behind"] | None:
        """Against the best baseline; level where the interval of the skill holds zero. None without a baseline."""
        if self.best_baseline is None:
            return None
        low, high = self.interval or (1, 1)
        if self.value == self.baselines[self.best_baseline] or low <= 0 <= high:
            return "level"
        return "ahead" if (self.skill or -1) > 0 else "behind"


@dataclass(frozen=True)
class Comparison:
    """The policy and the baselines by every metric."""

    names: list[str]
    """Metrics that more than one of them has; where the policy is alone, all of its."""
    rows: list[tuple[str, Score]]
    """(who, scores): the policy first, the baselines from good to bad by the headline metric."""
    best: set[tuple[int, str]]
    """(row, metric) pairs that are best of their column, ties included."""
    alone: list[str]
    """Metrics that only the policy has."""


def called(who: str) -> str:
    """A forecaster's name as people read it; a stage's name stands for the policy that it left."""
    return f"policy ({who})" if who in POLICY_STAGES else who.replace("_", " ")


def verdict(test: Scores) -> Verdict | None:
    """The headline of the test part, or None where it holds no metric that can head the page."""
    name = next((name for name in HEADLINE if test.metrics.get(name) is not None), None)
    if name is None:
        return None
    rivals = {called(who): value for who, scores in test.baselines.items() if (value := scores.get(name)) is not None}
    order = sorted(rivals, key=lambda who: rivals[who], reverse=METRICS[name].better == "higher")
    value = test.metrics[name]
    assert value is not None
    return Verdict(name, test.policy, value, {who: rivals[who] for who in order}, test.skill_interval)


def comparison(stage: str, own: Score, baselines: Mapping[str, Score], order: Sequence[str]) -> Comparison:
    """Line up scores, the policy's first.

    Args:
        stage: where the policy comes from.
        order: names of baselines from good to bad, as ``called``; others come last.
    """
    rivals = sorted(
        ((called(who), scores) for who, scores in baselines.items()),
        key=lambda row: order.index(row[0]) if row[0] in order else len(order),
    )
    rows = [(called(stage), own), *rivals]
    every = ordered(name for _, scores in rows for name in scores)
    known = [name for name in every if ROOTS.get(name) not in every]
    shared = known
    if rivals:
        shared = [name for name in known if sum(scores.get(name) is not None for _, scores in rows) > 1]
    numbered = {str(row): scores for row, (_, scores) in enumerate(rows)}
    best = {(int(row), name) for name, winners in best_of(numbered).items() for row in winners if name in known}
    alone = [name for name in known if name not in shared and own.get(name) is not None]
    return Comparison(shared, rows, best, alone)
