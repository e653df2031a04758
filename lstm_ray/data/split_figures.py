"""Pictures of a split: parts and folds on the time axis, shares of dealt series. Knows nothing of how they are cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray import figure
from lstm_ray.data.parts import PARTS, Boundaries, Part
from lstm_ray.data.schema import Schema
from lstm_ray.data.windows import Segments
from lstm_ray.figure import Figure

MOST_SERIES = 30
"""Series that are drawn, each on a line of its own."""
MOST_SEQUENCES = 2000
"""Sequences to classify that are drawn, all on one line."""


def words(schema: Schema, steps: Sequence[int]) -> list[str]:
    """Times of some steps, as people read them."""
    return [str(time).replace("T", " ") for time in figure.plain(schema.times(np.asarray(steps)))]


def timeline(segments: Segments, parts: Boundaries, counts: Mapping[Part, int], unit: str) -> Figure:
    """Where each segment lies on the time axis, and which part holds it where."""
    schema = segments.schema
    by_name = bool(schema.target) or schema.label is not None
    shown = _shown(segments, by_name)
    traces = []
    for part, (part_first, part_end) in parts.items():
        held_S = segments.held_by(part)
        x: list[Any] = []
        y: list[Any] = []
        for s in shown[held_S[shown]]:
            first = segments.first_step[s]
            end = first + segments.bounds[s + 1] - segments.bounds[s]
            low, high = max(first, part_first), min(end, part_end) - 1
            if low < high:
                x += [*figure.plain(schema.times(np.array([low, high]))), None]
                y += [segments.series[s] if by_name else "sequences"] * 2 + [None]
        traces.append(_spans(part, x, y))
    held = ", ".join(f"{number:,} {part}" for part, number in counts.items())
    if segments.part_S is None:
        caption, title = f"The parts hold {held} {unit}; nothing is shuffled in time.", "Chronological parts"
    else:
        caption, title = f"The parts hold {held} {unit}; every series lies in one part, whole.", "Parts of whole series"
    return Figure(id="parts", title=title, caption=caption, traces=traces)


def folds(
    each: Sequence[Boundaries], counts: Sequence[Mapping[Part, int]], schema: Schema, unit: str, used: int
) -> Figure:
    """Each fold's parts on a line of its own."""
    traces = []
    for part in PARTS:
        x: list[Any] = []
        y: list[Any] = []
        for index, fold in enumerate(each):
            first, end = fold[part]
            x += [*figure.plain(schema.times(np.array([first, end - 1]))), None]
            y += [f"fold {index}"] * 2 + [None]
        traces.append(_spans(part, x, y))
    first, end = each[0]["validation"]
    caption = (
        f"{len(each)} rolling origins: training grows from {counts[0]['train']:,} to {counts[-1]['train']:,} {unit}, and "
        f"validation, {end - first:,} steps, follows right after it; fold {used} is trained on."
    )
    return Figure(id="folds", title="Folds", caption=caption, traces=traces)


def dealt_shares(held: Mapping[str, int], number: int, asked: Mapping[str, float]) -> Figure:
    """The share of series in each part beside the share that was asked for."""
    largest = max(PARTS, key=lambda part: abs(held[part] / number - asked[part]))
    caption = (
        f"Of {number:,} series, {largest} holds {held[largest] / number:.1%} where {asked[largest]:.1%} were asked for; the "
        "others are nearer."
    )
    return figure.bars(
        "dealt-series",
        "Series in each part",
        caption,
        list(PARTS),
        {"dealt": [held[part] / number for part in PARTS], "asked": [asked[part] for part in PARTS]},
        y_title="share of series",
    )


def _shown(segments: Segments, by_name: bool) -> NDArray:
    """Segments of the first series by name, or sequences spread over all, int64."""
    if not by_name:
        number = len(segments.series)
        return np.unique(np.linspace(0, number - 1, min(number, MOST_SEQUENCES)).astype(np.int64))
    names = set(sorted(set(segments.series))[:MOST_SERIES])
    return np.array([s for s, name in enumerate(segments.series) if name in names], dtype=np.int64)


def _spans(name: str, x: list[Any], y: list[Any]) -> dict[str, Any]:
    line = {"type": "scatter", "mode": "lines", "line": {"width": 14}, "connectgaps": False}
    return {**line, "x": x, "y": y, "name": name}
