"""Pictures of a comparison: ranks with what cannot be told apart, differences with their intervals, errors over time.

Legend: M cases, K contenders, N blocks of time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lstm_ray.evaluate.comparing.pairs import Pair
from lstm_ray.evaluate.comparing.ranking import Ranking
from lstm_ray.evaluate.comparing.runs import Matched
from lstm_ray.evaluate.words import number
from lstm_ray.figure import Figure, bars, lines, plain

MOST_SERIES, MOST_POINTS, MOST_LINES = 30, 60, 5
Gapped = list[float | None]
"""Numbers of several lines that are one trace, a None between two lines."""


def critical_difference(found: Ranking) -> Figure:
    """The diagram of Demsar (2006): average ranks on an axis, with bars over those that cannot be told apart."""
    bottom = len(found.names)
    at = dict(zip(found.names, found.ranks, strict=True))
    rows = {name: row for row, name in enumerate(found.names, 1)}
    stems_x: Gapped = []
    stems_y: Gapped = []
    for name, rank in at.items():
        stems_x += [rank, rank, None]
        stems_y += [0, rows[name], None]
    bars_x: Gapped = []
    bars_y: Gapped = []
    for level, group in enumerate(found.groups, 1):
        ends = [at[name] for name in group]
        height = 0.85 * level / (len(found.groups) + 1)
        # Equal ranks still make a bar that can be seen.
        bars_x += [min(ends) - 0.02, max(ends) + 0.02, None]
        bars_y += [height, height, None]
    top = -0.45
    thin, thick = {"width": 1.5, "dash": "solid"}, {"width": 5, "dash": "solid"}
    line = {"type": "scatter", "mode": "lines", "hoverinfo": "skip"}
    marks = {
        "type": "scatter",
        "mode": "markers+text",
        "name": "average rank",
        "x": plain(found.ranks),
        "y": list(rows.values()),
        "text": [f"{rank:.2f}" for rank in found.ranks],
        "textposition": "middle right",
        "marker": {"size": 9, "symbol": "circle"},
        "showlegend": False,
        "cliponaxis": False,
        "hovertemplate": "%{text}<extra></extra>",
    }
    traces: list[dict[str, Any]] = [
        {**line, "x": plain(stems_x), "y": stems_y, "line": thin, "name": "stems", "showlegend": False},
        marks,
        {**line, "x": plain(bars_x), "y": plain(bars_y), "line": thick, "name": "cannot be told apart"},
        {
            **line,
            "x": plain([1.0, min(1.0 + found.critical, bottom)]),
            "y": [top, top],
            "line": {"width": 4, "dash": "solid"},
            "name": f"critical difference {found.critical:.2f}",
        },
    ]
    traces = [trace for trace in traces if trace["x"]]
    axis = {"title": {"text": "average rank, 1 is best"}, "range": [0.85, bottom + 0.35], "dtick": 1, "showgrid": True}
    names = {"tickmode": "array", "tickvals": list(rows.values()), "ticktext": found.names, "showgrid": False}
    layout = {
        "xaxis": axis,
        "yaxis": {**names, "range": [bottom + 0.5, -0.7], "zeroline": True, "title": {"text": ""}},
        "hovermode": "closest",
    }
    apart = "every two of them differ"
    if found.groups:
        apart = "thick bars join those that cannot be told apart"
    if found.groups and len(found.groups[0]) == bottom:
        apart = f"none of the {bottom} can be told from another"
    caption = (
        f"Ranks over {found.over}: {found.names[0]} is first with {found.ranks[0]:.2f} on average, {found.names[-1]} last with "
        f"{found.ranks[-1]:.2f}; {apart} (Wilcoxon's test, Holm's correction, 5 %)."
    )
    return Figure(id="critical-difference", title="Who ranks where", caption=caption, traces=traces, layout=layout)


def differences(found: Sequence[Pair], words: str) -> Figure:
    """Each pair's difference with its interval."""
    names = [f"{pair.better} / {pair.other}" for pair in found]
    known = [pair.interval or (pair.difference, pair.difference) for pair in found]
    reach = {
        "type": "data",
        "symmetric": False,
        "array": plain([high - pair.difference for pair, (_, high) in zip(found, known, strict=True)]),
        "arrayminus": plain([pair.difference - low for pair, (low, _) in zip(found, known, strict=True)]),
    }
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": plain([pair.difference for pair in found]),
        "y": names,
        "error_x": reach,
        "name": "difference",
    }
    clear = [pair for pair in found if pair.is_clear]
    said = f"{len(clear)} of {len(found)} differences are clear of luck" if clear else "no difference is clear of luck"
    largest = max(found, key=lambda pair: pair.difference)
    caption = (
        f"Mean error of the second less that of the first, with 95 % intervals from blocks of time: {said}; the largest is "
        f"{number(largest.difference)}, of {largest.better} against {largest.other}."
    )
    layout = {
        "xaxis": {"title": {"text": f"more {words} of the second"}, "zeroline": True},
        "yaxis": {"title": {"text": ""}},
    }
    return Figure(id="differences", title="How far apart", caption=caption, traces=[trace], layout=layout)


def over_time(found: Matched, words: str) -> Figure:
    """Mean error in stretches of the test part, of the runs and of the best baseline."""
    # Sequences have no common clock that means something: they stand in their order.
    at_M = np.arange(len(found.step_M)) if found.task == "classify" else found.step_M
    length = max(found.dependence, -(-int(at_M.max() + 1) // MOST_POINTS))
    _, first_N, block_M = np.unique(at_M // length, return_index=True, return_inverse=True)
    count_N = np.bincount(block_M)
    chosen = _shown(found)
    series = {found.names[k]: np.bincount(block_M, found.error_MK[:, k]) / count_N for k in chosen}
    x = first_N if found.task == "classify" else found.time_M[first_N]
    first, last = series[found.names[chosen[0]]], series[found.names[chosen[1]]]
    ahead = int((first < last).sum())
    caption = (
        f"Mean error in {len(count_N)} stretches of {length:,} steps: {found.names[chosen[0]]} is ahead of "
        f"{found.names[chosen[1]]} in {ahead} of them."
    )
    return lines("over-time", "Who is better when", caption, x, series, x_title="", y_title=words)


def by_series(found: Matched, words: str) -> Figure | None:
    """Mean error in each series; of many, in those where the runs differ most."""
    if found.task == "classify" or len(found.series) < 2:
        return None
    count_N = np.bincount(found.series_M)
    chosen = _shown(found)
    errors = {found.names[k]: np.bincount(found.series_M, found.error_MK[:, k]) / count_N for k in chosen}
    runs_KN = np.stack([errors[found.names[k]] for k in chosen if k < found.num_runs])
    order = np.argsort(-np.ptp(runs_KN, axis=0), kind="stable")[:MOST_SERIES]
    alone_N = (runs_KN == runs_KN.min(axis=0)).sum(axis=0) == 1
    wins = np.bincount(runs_KN.argmin(axis=0)[alone_N], minlength=len(runs_KN))
    best = [found.names[k] for k in chosen if k < found.num_runs]
    said = ", ".join(f"{name} in {n:,}" for name, n in zip(best, wins.tolist(), strict=True))
    caption = f"Mean error by series: of the runs, {said} of {len(count_N):,} series has the least by itself."
    if len(count_N) > MOST_SERIES:
        caption += f" Shown are the {MOST_SERIES} in which runs differ most."
    names = [found.series[n] for n in order]
    shown = {name: values[order] for name, values in errors.items()}
    return bars("by-series", "Who is better where", caption, names, shown, y_title=words)


def _shown(found: Matched) -> list[int]:
    """The best runs, and the best baseline last."""
    order = np.argsort(found.error_MK.mean(axis=0), kind="stable").tolist()
    others = [k for k in order if k >= found.num_runs]
    return [*[k for k in order if k < found.num_runs][:MOST_LINES], *others[:1]]
