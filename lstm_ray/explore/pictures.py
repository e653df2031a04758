"""Figures that exploration needs beyond ``lstm_ray.figure``: small multiples, thinned lines, marked points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray.figure import Figure, plain

LINE_POINTS = 1500
"""Points a line is thinned to: more cannot be told apart on a page."""
GAP = 0.06
"""Space between panels, as a share of the figure."""

Line = dict[str, Any]


def thin(values_T: NDArray, points: int = LINE_POINTS) -> NDArray:
    """Positions that keep a line's look: the lowest and highest value of each of ``points / 2`` stretches.

    A spike survives, as it would not in an average; a stretch without values keeps one position, so that gaps show.
    """
    size = len(values_T)
    if size <= points:
        return np.arange(size)
    width = -(-size // (points // 2))
    padded = np.full(-(-size // width) * width, np.nan)
    padded[:size] = values_T
    blocks = padded.reshape(-1, width)
    start = np.arange(len(blocks)) * width
    low = start + np.where(np.isnan(blocks), np.inf, blocks).argmin(axis=1)
    high = start + np.where(np.isnan(blocks), -np.inf, blocks).argmax(axis=1)
    return np.unique(np.concatenate([low, high]))


def smooth_line(x: Sequence[Any], values_T: NDArray, name: str, *, points: int) -> Line:
    """One line of averages over equal stretches, for what would be a hairy band if its extremes were kept."""
    width = -(-len(values_T) // points)
    start = np.arange(0, len(values_T), width)
    seen = np.isfinite(values_T)
    counts = np.add.reduceat(seen.astype(np.float64), start)
    sums = np.add.reduceat(np.where(seen, values_T, 0.0), start)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": plain([x[i] for i in start.tolist()]),
        "y": plain(means.tolist()),
    }


def line(x: Sequence[Any], values_T: NDArray, name: str, *, points: int = LINE_POINTS, **more: Any) -> Line:
    """One thinned line."""
    kept = thin(values_T, points)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": plain([x[i] for i in kept]),
        "y": plain(values_T[kept].tolist()),
        **more,
    }


def panels(
    id: str,
    title: str,
    caption: str,
    cells: Sequence[tuple[str, Sequence[Line]]],
    *,
    columns: int = 1,
    x_title: str = "",
    same_y: bool = False,
) -> Figure:
    """Small multiples: one panel per cell, a (title, traces) pair, row by row.

    Args:
        columns: panels side by side.
        same_y: every panel shows the first one's range of values.
    """
    rows = -(-len(cells) // columns)
    width, height = (1 - GAP * (columns - 1)) / columns, (1 - GAP * (rows - 1)) / rows
    traces: list[Line] = []
    layout: dict[str, Any] = {"showlegend": False, "annotations": []}
    for index, (name, cell) in enumerate(cells):
        row, column = divmod(index, columns)
        suffix = "" if index == 0 else str(index + 1)
        left, top = column * (width + GAP), 1 - row * (height + GAP)
        is_lowest = index + columns >= len(cells)
        x_axis = {"domain": [left, min(1.0, left + width)], "anchor": f"y{suffix}", "showticklabels": is_lowest}
        x_axis |= {"matches": "x"} if index else {}
        x_axis |= {"title": {"text": x_title}} if is_lowest else {}
        y_axis: dict[str, Any] = {"domain": [max(0.0, top - height), top], "anchor": f"x{suffix}"}
        y_axis |= {"matches": "y"} if index and same_y else {}
        layout |= {f"xaxis{suffix}": x_axis, f"yaxis{suffix}": y_axis}
        layout["annotations"].append(_heading(name, left, top))
        traces += [{**trace, "xaxis": f"x{suffix}", "yaxis": f"y{suffix}"} for trace in cell]
    return Figure(id=id, title=title, caption=caption, traces=traces, layout=layout)


def overlay(
    id: str, title: str, caption: str, traces: Sequence[Line], *, x_title: str = "", y_title: str = "", **layout: Any
) -> Figure:
    """Traces that each bring their own x, on one pair of axes."""
    axes = {"xaxis": {"title": {"text": x_title}}, "yaxis": {"title": {"text": y_title}}}
    return Figure(id=id, title=title, caption=caption, traces=list(traces), layout={**axes, **layout})


def _heading(text: str, left: float, top: float) -> dict[str, Any]:
    place = {"x": left, "y": top, "xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom"}
    return {"text": text, "showarrow": False, **place}
