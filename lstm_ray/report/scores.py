"""The policy beside its baselines: which number is best and by how much. Knows ``evaluate/metrics.json``, no HTML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

Better = Literal["lower", "higher"]
Score = Mapping[str, float | None]


@dataclass(frozen=True)
class Metric:
    """How a metric is called and which way is better; None where neither way is (coverage has a nominal value)."""

    label: str
    better: Better | None


METRICS: Mapping[str, Metric] = {
    "mae": Metric("MAE", "lower"),
    "rmse": Metric("RMSE", "lower"),
    "mse": Metric("MSE", "lower"),
    "mase": Metric("MASE", "lower"),
    "smape": Metric("sMAPE", "lower"),
    "wape": Metric("WAPE", "lower"),
    "pinball": Metric("pinball", "lower"),
    "weighted_quantile_loss": Metric("weighted quantile loss", "lower"),
    "macro_f1": Metric("macro F1", "higher"),
    "weighted_f1": Metric("weighted F1", "higher"),
    "accuracy": Metric("accuracy", "higher"),
    "balanced_accuracy": Metric("balanced accuracy", "higher"),
    "cross_entropy": Metric("cross entropy", "lower"),
    "log_loss": Metric("log loss", "lower"),
    "brier": Metric("Brier", "lower"),
    "calibration_error": Metric("calibration error", "lower"),
    "bias": Metric("bias", None),
    "coverage": Metric("coverage", None),
    "interval_width": Metric("interval width", None),
}
HEADLINE = ("mae", "rmse", "macro_f1", "accuracy")
"""Metrics that may head the page, the first that is there: those that a policy is chosen by, then their neighbours."""

UNITS = {"forecast": "windows", "classify": "sequences", "label": "labelled steps"}
"""What is counted, by task."""
POLICY_STAGES = ("train", "plan", "tune")


def metric(name: str) -> Metric:
    """What is known of a metric; one the table lacks keeps its own name and is never called best."""
    return METRICS.get(name) or Metric(name.replace("_", " "), None)


def ordered(names: Iterable[str]) -> list[str]:
    """Each name once, known metrics first, in the order of METRICS."""
    known = list(METRICS)
    return sorted(dict.fromkeys(names), key=lambda name: (known.index(name) if name in METRICS else len(known), name))


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
    known = ordered(name for _, scores in rows for name in scores)
    values = {name: [scores.get(name) for _, scores in rows] for name in known}
    shared = [name for name in known if sum(value is not None for value in values[name]) > 1] if rivals else known
    best = set()
    for name in shared:
        better = metric(name).better if rivals else None
        present = [value for value in values[name] if value is not None]
        if better and present:
            top = max(present) if better == "higher" else min(present)
            best |= {(row, name) for row, value in enumerate(values[name]) if value == top}
    alone = [name for name in known if name not in shared and own.get(name) is not None]
    return Comparison(shared, rows, best, alone)
