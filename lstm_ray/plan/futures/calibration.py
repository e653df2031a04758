"""Whether simulated paths are what they claim: how often they held what happened, and how far apart they lie.

Sums over a rollout's steps, and over the series that start together, show whether steps and series vary together as they
really do. Knows no models; what is known of some origins is added to what is known of others.
Shapes: M origins, W paths, S steps, C targets, K LEVELS, U times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray import figure
from lstm_ray.figure import Figure
from lstm_ray.plan.futures.tally import LEVELS, Tally
from lstm_ray.run_dir import Finding

OFF = 0.1
"""Coverage further from its level than this calls for advice."""
EACH, TOTAL, TOGETHER = "each step", "sum over the rollout", "sum over series, each step"
WORDS = {EACH: "values", TOTAL: "sums over a rollout", TOGETHER: "sums over series"}
"""What is judged, and how a sentence calls it."""
FEWEST = 2
"""Paths; of one the rank is spread so widely that any truth would seem held exactly as often as it should."""
MOST_TARGETS = 12
"""Targets that have rows of their own in the table."""


@dataclass(frozen=True)
class Facts:
    """What the futures of some origins were worth; ``merge`` adds those of others, in any order."""

    steps: Tally
    """Of each step, [S, C]."""
    total: Tally
    """Of sums over the steps of a rollout that were measured, [C]."""
    step_U: NDArray
    """Steps of the origins, ascending, each once."""
    path_UWSC: NDArray
    """Sums over the series that start there, where they were measured."""
    actual_USC: NDArray
    count_USC: NDArray
    """How many series were measured."""
    num_paths: int
    over: Tally | None = None
    """Of sums over series at times that are settled, [S, C]."""
    num_settled: int = 0

    @property
    def num_times(self) -> int:
        """At which origins lie."""
        return self.num_settled + len(self.step_U)

    def settled(self) -> Facts:
        """The same with no more than sums: no other origins lie at the times of these."""
        none = {name: vars(self)[name][:0].copy() for name in ("step_U", "path_UWSC", "actual_USC", "count_USC")}
        return replace(self, over=self.together, num_settled=self.num_times, **none)

    def merge(self, other: Facts) -> Facts:
        step_U = np.concatenate([self.step_U, other.step_U])
        sums = [
            np.concatenate([vars(self)[name], vars(other)[name]]) for name in ("path_UWSC", "actual_USC", "count_USC")
        ]
        step_U, (path_UWSC, actual_USC, count_USC) = _by_step(step_U, sums)
        steps, total = self.steps + other.steps, self.total + other.total
        over, num_settled = _added(self.over, other.over), self.num_settled + other.num_settled
        return Facts(steps, total, step_U, path_UWSC, actual_USC, count_USC, self.num_paths, over, num_settled)

    @property
    def together(self) -> Tally | None:
        """Of sums over series that were measured at the same time, [S, C]; None where no two were."""
        several_USC = self.count_USC >= 2
        if not several_USC.any():
            return self.over
        return _added(self.over, Tally.of(self.path_UWSC, self.actual_USC, several_USC))


def facts(future_MWSC: NDArray, actual_MSC: NDArray, observed_MSC: NDArray, step_M: NDArray) -> Facts:
    """What the simulated futures of some origins were worth.

    Args:
        actual_MSC: what happened; ``observed_MSC`` where it was measured.
        step_M: each origin's step on the common time axis; series that share one are summed up.
    """
    measured_MSC = observed_MSC > 0
    held_MWSC = future_MWSC.astype(np.float64) * measured_MSC[:, None]
    held_MSC = actual_MSC.astype(np.float64) * measured_MSC
    total = Tally.of(held_MWSC.sum(2), held_MSC.sum(1), measured_MSC.mean(1) >= 0.5)
    step_U, (path_UWSC, actual_USC, count_USC) = _by_step(step_M, [held_MWSC, held_MSC, measured_MSC.astype(np.int64)])
    steps = Tally.of(future_MWSC, actual_MSC, measured_MSC)
    return Facts(steps, total, step_U, path_UWSC, actual_USC, count_USC, future_MWSC.shape[1])


@dataclass(frozen=True)
class Summary:
    """Facts in words: for the stage's report."""

    finding: Finding
    table: dict[str, Any] | None
    """None, as the figure, where there are too few paths to tell anything."""
    figure: Figure | None
    numbers: dict[str, Any]
    """Plain, for the stage's own files."""


def summary(found: Facts, targets: Sequence[str]) -> Summary:
    """Coverage by lead, of sums and of series together, and spread beside skill."""
    if found.num_paths < FEWEST:
        text = "One path from each moment cannot show how often paths hold what happens."
        advice = "Raise plan.paths; 20 or more tell the tails."
        return Summary(
            Finding(severity="advice", text=text, advice=advice), None, None, {"origin_times": found.num_times}
        )
    rows = {EACH: found.steps.pooled(0), TOTAL: found.total}
    if (together := found.together) is not None:
        rows[TOGETHER] = together.pooled(0)
    numbers = {name: _numbers(tally, targets) for name, tally in rows.items()}
    coverage_KS = found.steps.pooled(1).coverage().T
    return Summary(
        finding=_finding(numbers, found.num_times),
        table=_table(rows, targets, found.num_paths),
        figure=_figure(coverage_KS, found),
        numbers={"origin_times": found.num_times, **numbers},
    )


def _added(one: Tally | None, other: Tally | None) -> Tally | None:
    return other if one is None else one if other is None else one + other


def _by_step(step_M: NDArray, sums: Sequence[NDArray]) -> tuple[NDArray, list[NDArray]]:
    """The steps, each once, and sums [M, ...] added up over those that share one."""
    step_U, of_M = np.unique(step_M, return_inverse=True)
    added = [np.zeros((len(step_U), *values.shape[1:]), values.dtype) for values in sums]
    for into, values in zip(added, sums, strict=True):
        np.add.at(into, of_M, values)
    return step_U, added


def _numbers(tally: Tally, targets: Sequence[str]) -> dict[str, Any]:
    inside_K = tally.pooled(0).coverage()
    return {
        "coverage": {f"{level:.0%}": _plain(value) for level, value in zip(LEVELS, inside_K, strict=True)},
        "spread_skill": tally.ratio(),
        "crps": {
            name: _plain(value) for name, value in zip(targets, tally.crps / np.maximum(tally.count, 1), strict=True)
        },
    }


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _finding(numbers: dict[str, Any], times: int) -> Finding:
    """The one sentence: are paths as wide as what happens varies, step by step and in sums."""
    each = numbers[EACH]
    if each["coverage"]["80%"] is None:
        text = "Nothing was measured after the moments that rollouts start from: their paths cannot be judged."
        return Finding(severity="info", text=text)
    parts, off = [], {}
    for name, of in numbers.items():
        if of["coverage"]["80%"] is None:
            continue
        parts.append(f"{of['coverage']['80%']:.0%} of {WORDS[name]}")
        # Sums are few: as many as there are moments, of which a coverage of 80 % is known to two standard errors.
        least = OFF if name == EACH else max(OFF, 2 * np.sqrt(0.8 * 0.2 / times))
        worst = max((of["coverage"][f"{level:.0%}"] - level for level in LEVELS), key=abs)
        if abs(worst) > least:
            off[WORDS[name]] = worst
    held = " and ".join(parts) if len(parts) < 3 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    text = f"The middle 80 % of the simulated paths held {held} as they happened in validation; the middle 50 % held "
    text += f"{each['coverage']['50%']:.0%} of values and the middle 90 % {each['coverage']['90%']:.0%}"
    if each["spread_skill"] is not None:
        text += f"; their variance is {each['spread_skill']:.2f} times the squared error of their mean"
    if not off:
        return Finding(severity="info", text=f"{text}.")
    narrow = sum(off.values()) < 0
    advice = (
        "Paths are too narrow: this stretch of validation went less as forecast than the rest of it, whose errors they follow; "
        "a longer validation part (split.validation) holds more of what may happen."
        if narrow
        else "Paths are too wide: this stretch of validation was quieter than the rest of it, whose errors they follow; "
        "model.quantiles, such as [0.1, 0.5, 0.9], let the policy say itself when it is sure."
    )
    return Finding(
        severity="advice", text=f"{text}. Off by more than 10 points and chance: {', '.join(off)}.", advice=advice
    )


def _table(rows: dict[str, Tally], targets: Sequence[str], paths: int) -> dict[str, Any]:
    body: list[list[Any]] = []
    for name, tally in rows.items():
        if len(targets) > 1:
            body.append([name, "all", *map(_plain, tally.pooled(0).coverage()), tally.ratio(), None, None])
        for c, target in enumerate(targets[:MOST_TARGETS]):
            one = Tally(**{part: values[c : c + 1] for part, values in vars(tally).items()})
            count = int(one.count[0])
            crps = float(one.crps[0] / count) if count else None
            body.append([name, target, *map(_plain, one.pooled(0).coverage()), one.ratio(), crps, count])
    wanted = [f"in the middle {level:.0%}" for level in LEVELS]
    caption = (
        f"Share of what happened in validation that lay in the middle of {paths} paths, which follow errors of other times; "
        "variance of the paths over the squared error of their mean (1 is right, below it paths are too narrow), and the "
        "continuous ranked probability score in the target's units."
    )
    if len(targets) > MOST_TARGETS:
        caption += f" The first {MOST_TARGETS} of {len(targets)} targets."
    columns = ["what", "target", *wanted, "variance over error", "CRPS", "values"]
    return {"title": "Calibration of the simulated paths", "columns": columns, "rows": body, "caption": caption}


def _figure(coverage_KS: NDArray, found: Facts) -> Figure:
    steps = np.arange(1, coverage_KS.shape[1] + 1)
    held = {f"middle {level:.0%}": row for level, row in zip(LEVELS, coverage_KS, strict=True)}
    wanted = {f"{level:.0%} wanted": np.full(len(steps), level) for level in LEVELS}
    eighty = coverage_KS[LEVELS.index(0.8)]
    known = eighty[np.isfinite(eighty)]
    caption = "Nothing was measured there."
    if len(known):
        caption = (
            f"The middle 80 % of {found.num_paths} paths held {known[0]:.0%} at the first step and {known[-1]:.0%} at the "
            f"last, {known.min():.0%} to {known.max():.0%} between, over rollouts from {found.num_times} moments."
        )
    picture = figure.lines(
        "calibration",
        "How often paths hold what happens",
        caption,
        steps,
        held,
        x_title="steps ahead",
        y_title="share held",
    )
    level_lines = figure.lines("", "", "", steps, wanted, mode="lines").traces
    dotted = [{**trace, "line": {"dash": "dot", "width": 1}, "showlegend": False} for trace in level_lines]
    axes = {**picture.layout, "yaxis": {**picture.layout["yaxis"], "range": [0, 1]}}
    return picture.model_copy(update={"traces": [*picture.traces, *dotted], "layout": axes})
