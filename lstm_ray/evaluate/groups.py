"""Errors by declared groups of series (evaluate.groups), and which of them fare worse than may be luck. Knows cases; no model.

A group's error is told as a ratio to that of all. It is flagged where the ratio exceeds evaluate.max_gap and its interval, by
leaving out blocks of time (``skill.standard_error``) at a level that counts how many groups are looked at (Bonferroni), lies
above 1. Groups of few cases are told and never flagged.

Legend: M cases (windows, sequences, steps), S segments, G groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from lstm_ray.data.timeline.grid import SEPARATOR
from lstm_ray.data.windows import Segments
from lstm_ray.evaluate.skill import CONFIDENCE, standard_error
from lstm_ray.evaluate.told import Told
from lstm_ray.evaluate.words import number, percent
from lstm_ray.figure import bars
from lstm_ray.run_dir import Finding

TOPIC = "Groups"
FEWEST = 30
"""Cases of a group from which it is judged."""
MOST_SHOWN = 30
"""Groups in a table or a figure: the worst."""


@dataclass(frozen=True)
class Grouping:
    """Which group each segment is in, by one column."""

    column: str
    values: list[str]
    index_S: NDArray
    """int64"""


@dataclass(frozen=True)
class Errors:
    """Of all cases: sums of errors, and over how many values."""

    error_M: NDArray
    count_M: NDArray
    segment_M: NDArray
    step_M: NDArray
    """When each was, on the common time axis."""
    dependence: int
    """Steps apart within which cases share what they are judged by."""
    what: str
    """The mean error, in words."""
    things: str
    """windows, sequences or steps."""
    is_share: bool = False
    """Whether the error is a share of cases told wrong."""
    more: Mapping[str, Mapping[str, NDArray]] | None = None
    """Further metrics by column and group, each name -> [G]."""


@dataclass(frozen=True)
class Group:
    """One group's errors."""

    value: str
    cases: int
    error: float | None
    ratio: float | None
    """To the error of all."""
    interval: tuple[float, float] | None
    more: dict[str, float | None]

    @property
    def is_few(self) -> bool:
        return self.cases < FEWEST

    def is_flagged(self, max_gap: float) -> bool:
        """Whether it fares worse than may be luck."""
        if self.ratio is None or self.interval is None or self.is_few:
            return False
        return self.ratio > max_gap and self.interval[0] > 1


def groupings(segments: Segments, columns: Sequence[str], series_id: Sequence[str]) -> list[Grouping]:
    """By each of some columns that are constant in a series.

    Args:
        series_id: columns that together name a series.
    """
    return [_grouping(segments, column, series_id) for column in columns]


def _grouping(segments: Segments, column: str, series_id: Sequence[str]) -> Grouping:
    schema = segments.schema
    if column in schema.categories:
        values = schema.categories[column]
        code_S = segments.category_SK[:, list(schema.categories).index(column)]
        words = [values[code - 1] if code else "(not in the training part)" for code in code_S.tolist()]
    elif column in series_id:
        parts = [name.split(SEPARATOR) if len(series_id) > 1 else [name] for name in segments.series]
        # A value that holds the separator itself leaves no way to tell its columns apart: then the whole name is the group.
        at = list(series_id).index(column)
        words = [p[at] if len(p) == len(series_id) else name for p, name in zip(parts, segments.series, strict=True)]
    else:
        value_S = segments.known_RK[segments.bounds[:-1], schema.known.index(column)]
        words = [f"{value:g}" for value in value_S.tolist()]
    found, index_S = np.unique(np.asarray(words, dtype=np.str_), return_inverse=True)
    return Grouping(column, found.tolist(), index_S.astype(np.int64))


def judged(errors: Errors, grouping: Grouping) -> list[Group]:
    """Each group's error beside that of all, the worst first; groups without a case are left out."""
    num = len(grouping.values)
    index_M = grouping.index_S[errors.segment_M]
    known_M = errors.count_M > 0
    cases_G = np.bincount(index_M[known_M], minlength=num)
    # Errors of one time step are summed first, so that blocks are of steps and not of all cases.
    step_U, at_M = np.unique(errors.step_M, return_inverse=True)

    def by_step(value_M: NDArray) -> NDArray:
        cell = at_M * num + index_M
        return np.bincount(cell, weights=value_M, minlength=len(step_U) * num).reshape(len(step_U), num)

    def ratio(error_G: NDArray, count_G: NDArray) -> NDArray:
        with np.errstate(divide="ignore", invalid="ignore"):
            found: NDArray = (error_G / count_G) / (error_G.sum(-1) / count_G.sum(-1))[..., None]
        return found

    parts = [by_step(np.nan_to_num(errors.error_M)), by_step(errors.count_M.astype(np.float64))]
    ratio_G, deviation_G, blocks = standard_error(ratio, parts, step_U, errors.dependence)
    looked_at = max(1, int((cases_G >= FEWEST).sum()))
    score = float(stdtrit(max(1, blocks - 1), 1 - (1 - CONFIDENCE) / (2 * looked_at)))
    more = (errors.more or {}).get(grouping.column, {})
    error_G = parts[0].sum(0) / np.maximum(parts[1].sum(0), 1)
    found = []
    for g in np.flatnonzero(cases_G).tolist():
        interval = None
        if deviation_G is not None and np.isfinite(deviation_G[g]) and np.isfinite(ratio_G[g]):
            reach = score * float(deviation_G[g])
            interval = (float(ratio_G[g]) - reach, float(ratio_G[g]) + reach)
        found.append(
            Group(
                grouping.values[g],
                int(cases_G[g]),
                float(error_G[g]),
                float(ratio_G[g]) if np.isfinite(ratio_G[g]) else None,
                interval,
                {name: float(v[g]) if np.isfinite(v[g]) else None for name, v in more.items()},
            )
        )
    return sorted(found, key=lambda one: -(one.ratio or 0.0))


def told(errors: Errors, found: Sequence[Grouping], max_gap: float) -> Told:
    """A sentence, a table and a picture for each column."""
    by = {one.column: judged(errors, one) for one in found}
    details = {
        column: [
            {
                "value": group.value,
                errors.things: group.cases,
                "error": group.error,
                "ratio": group.ratio,
                "interval": list(group.interval) if group.interval else None,
                "flagged": group.is_flagged(max_gap),
                **group.more,
            }
            for group in groups
        ]
        for column, groups in by.items()
    }
    return Told(
        TOPIC,
        [_finding(column, groups, errors, max_gap) for column, groups in by.items()],
        [_figure(column, groups, errors) for column, groups in by.items() if len(groups) > 1],
        [_table(column, groups, errors, max_gap) for column, groups in by.items()],
        {"groups": {"max_gap": max_gap, "error": errors.what, "by": details}},
    )


def _finding(column: str, groups: Sequence[Group], errors: Errors, max_gap: float) -> Finding:
    judged_of = [one for one in groups if not one.is_few and one.ratio is not None]
    few = [one for one in groups if one.is_few]
    left = f" {len(few)} of {len(groups)} have fewer than {FEWEST} {errors.things} and are not judged." if few else ""
    if len(judged_of) < 2:
        text = f"By '{column}' there are not two groups of at least {FEWEST} test {errors.things} to compare."
        return Finding(severity="info", text=text + left)
    flagged = [one for one in judged_of if one.is_flagged(max_gap)]
    worst = (flagged or judged_of)[0]
    ratio = worst.ratio or 0.0
    head = f"By '{column}' the worst group is '{worst.value}': its {errors.what} is {ratio:.2f} times that of all"
    head += f" ({_said(errors, worst.error)} over {worst.cases:,} {errors.things}{_sure(worst)})"
    if flagged:
        others = f", and so are {len(flagged) - 1} more" if len(flagged) > 1 else ""
        text = f"{head}; that is more than {max_gap:g} times and more than luck{others}.{left}"
        advice = (
            f"Look at what sets '{worst.value}' apart (scale, gaps, share of the training rows), bring more of its data, weigh "
            "its rows (data.weight), or do not serve it."
        )
        return Finding(severity="warning", text=text, advice=advice)
    if ratio > max_gap:
        text = f"{head}; that is more than {max_gap:g} times, and may be luck.{left}"
        return Finding(severity="advice", text=text, advice="Bring more test data before trusting it, or the gap.")
    return Finding(severity="info", text=f"{head}; no group is beyond {max_gap:g} times.{left}")


def _sure(group: Group) -> str:
    if group.interval is None:
        return "; too short a time to say how sure that is"
    return f"; interval {group.interval[0]:.2f} to {group.interval[1]:.2f}"


def _said(errors: Errors, value: float | None) -> str:
    if value is None:
        return "not known"
    return percent(value) if errors.is_share else number(value)


def _table(column: str, groups: Sequence[Group], errors: Errors, max_gap: float) -> dict[str, Any]:
    names = list(groups[0].more) if groups else []
    rows: list[list[Any]] = [
        [
            one.value,
            one.cases,
            one.error,
            one.ratio,
            f"{one.interval[0]:.2f} to {one.interval[1]:.2f}" if one.interval else "",
            *(one.more[name] for name in names),
            "few" if one.is_few else "flagged" if one.is_flagged(max_gap) else "",
        ]
        for one in groups[:MOST_SHOWN]
    ]
    shown = f"The worst {MOST_SHOWN} of {len(groups)} groups. " if len(groups) > MOST_SHOWN else ""
    return {
        "title": f"By '{column}'",
        "columns": ["group", errors.things, "error", "ratio", "interval", *names, "judged"],
        "rows": rows,
        "caption": f"{shown}Error: {errors.what}; ratio: to that of all. Flagged: more than {max_gap:g} times it, with an "
        f"interval above 1 that counts how many groups are looked at; few: under {FEWEST} {errors.things}.",
    }


def _figure(column: str, groups: Sequence[Group], errors: Errors) -> Any:
    shown = [one for one in groups if one.ratio is not None][:MOST_SHOWN]
    ends = [f"{one.ratio or 0.0:.2f} ('{one.value}')" for one in (shown[-1], shown[0])] if shown else []
    caption = f"{errors.what[0].upper()}{errors.what[1:]} of each group over that of all"
    caption += f", from {ends[0]} to {ends[1]}." if ends else "."
    ratios = {"over that of all": [one.ratio or 0.0 for one in shown]}
    names = [one.value for one in shown]
    return bars(f"groups_{column}", f"Errors by '{column}'", caption, names, ratios, y_title="ratio of errors")
