"""A search of settings in pictures: how the trials went, and which settings did well. Knows no training and no Ray."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lstm_ray import figure
from lstm_ray.evaluate.choosing.importance import Importances
from lstm_ray.evaluate.choosing.trials import Search, short, written
from lstm_ray.evaluate.words import percent
from lstm_ray.figure import Figure

SCALES = 5
"""A setting whose largest value is this many times its smallest is drawn by its logarithm."""
ROOM = 0.08
"""Least distance of two labels on an axis, as a share of its height."""
MOST_NAMED = 7
"""Trials named in a legend: the best."""
FAINT = 0.55
"""How strongly other trials are drawn than the one that goes on."""


def figures(search: Search) -> list[Figure]:
    """Loss curves, the best so far, loss by setting, and what each setting has to do with it."""
    finished = search.finished
    best = min(finished, key=lambda trial: trial.best_loss)
    epochs = list(range(1, max(len(trial.losses) for trial in finished) + 1))
    padded = {str(t.number): [*t.losses, *[math.nan] * (len(epochs) - len(t.losses))] for t in finished}
    stopped = sum(len(trial.losses) < search.budget for trial in finished)
    so_far = np.minimum.accumulate([trial.best_loss for trial in finished])
    curves = figure.lines(
        "trial-losses",
        "Validation loss of the trials",
        f"Trial {best.number} had the lowest loss, {best.best_loss:.4g} after epoch {best.best_epoch}; "
        f"{stopped} of {len(finished)} trials ended before epoch {search.budget}.",
        epochs,
        padded,
        x_title="epoch",
        y_title="validation loss",
        mode="lines+markers",
    )
    named = {str(one.number) for one in sorted(finished, key=lambda trial: trial.best_loss)[:MOST_NAMED]}
    for trace in curves.traces:
        trace["showlegend"] = trace["name"] in named
    # The tick of half an epoch would mean nothing.
    curves.layout["xaxis"]["dtick"] = max(1, -(-len(epochs) // 8))
    drawn = [curves]
    if so_far[-1] < so_far[0]:
        best_so_far = figure.lines(
            "best-so-far",
            "Lowest loss so far",
            f"{len(finished)} trials brought the lowest validation loss from {so_far[0]:.4g} to "
            f"{so_far[-1]:.4g}, first reached by trial {finished[int(np.argmin(so_far))].number}.",
            [trial.number for trial in finished],
            {"lowest loss": so_far.tolist()},
            x_title="trial",
            y_title="validation loss",
            mode="lines+markers",
        )
        drawn.append(best_so_far)
    if len(finished) > 1:
        drawn.append(_by_setting(search))
    if search.importances and search.importances.foretold > 0:
        drawn.append(_importance(search.importances))
    return drawn


def _importance(found: Importances) -> Figure:
    """Shares of the loss as bars, and which way is better where that is likely."""
    top = found.of[0]
    ways = [
        ""
        if one.direction is None or not one.is_likely
        else "lower is better"
        if one.direction > 0
        else "higher is better"
        for one in found.of
    ]
    drawn = figure.bars(
        "importance",
        "What the loss hangs on",
        f"{top.path} alone explains {percent(top.share)} of what a random forest over {found.num_trials} trials makes of the "
        f"loss; it foretells {percent(found.foretold)} of the variance of trials that it was not grown on.",
        [short(one.path) for one in found.of],
        {"explains alone": [100 * one.share for one in found.of]},
        y_title="% of the variance of the loss",
    )
    drawn.traces[0].update(text=ways, textposition="auto", hovertext=[one.path for one in found.of])
    return drawn


def _by_setting(search: Search) -> Figure:
    """Parallel coordinates: a line per trial, the best first, through its settings to its loss at the right; who goes on
    is drawn strongly.

    Lines and text, not plotly's own parallel coordinates: those need WebGL, which paper and remote desktops lack, and to
    make code as they run, which the page's content security policy forbids.
    """
    trials = sorted(search.finished, key=lambda trial: trial.best_loss)
    shown = search.winner or trials[0]
    names = [*map(short, shown.settings), "loss"]
    columns = [[trial.settings[path] for trial in trials] for path in shown.settings]
    placed = [_places(values) for values in [*columns, [trial.best_loss for trial in trials]]]
    across = list(range(len(names)))
    traces: list[dict[str, Any]] = []
    for rank, trial in enumerate(trials):
        # By name: one that was read back from disk holds them in another order.
        values = [*(trial.settings[path] for path in shown.settings), trial.best_loss]
        through = [places[value] for places, value in zip(placed, values, strict=True)]
        texts = [f"{name} {written(value)}" for name, value in zip(names, values, strict=True)]
        line = {"type": "scatter", "mode": "lines+markers", "x": across, "y": figure.plain(through), "text": texts}
        end = ", goes on" if trial is search.winner else ""
        legend = {"showlegend": rank < MOST_NAMED or trial is shown}
        named = {"name": f"trial {trial.number}{end}", "hoverinfo": "text+name"} | legend
        strong = (
            {"opacity": 1.0, "line": {"width": 4}} if trial is shown else {"opacity": FAINT, "line": {"width": 1.5}}
        )
        traces.append(line | named | strong)
    ticks = [
        (at, place, f"\N{NO-BREAK SPACE}{written(value)}")
        for at, places in zip(across, placed, strict=True)
        for value, place in _few(places)
    ]
    at, place, texts = (list(part) for part in zip(*ticks, strict=True))
    label = {"type": "scatter", "mode": "text", "x": at, "y": figure.plain(place), "text": texts, "xaxis": "x2"}
    traces.append(label | {"textposition": "middle right", "showlegend": False, "hoverinfo": "skip"})
    chosen = ", ".join(f"{short(path)} {written(value)}" for path, value in shown.settings.items())
    who = (
        f"Trial {shown.number}, which goes on" if search.winner else f"The trained policy goes on; trial {shown.number}"
    )
    span = [-0.2, len(names) - 0.3]
    return Figure(
        id="loss-by-setting",
        title="Loss by setting",
        caption=f"Each line is a trial, the lower at the right the better. {who}, loss {shown.best_loss:.4g}: {chosen}.",
        traces=traces,
        layout={
            "xaxis": {"tickvals": across, "ticktext": names, "range": span, "showgrid": True},
            # The labels lie on an axis of their own, which lets the page count only trials as series.
            "xaxis2": {"overlaying": "x", "range": span, "visible": False},
            "yaxis": {"range": [-0.06, 1.06], "visible": False},
            "hovermode": "closest",
        },
    )


def _places(values: list[Any]) -> dict[Any, float]:
    """Each value's height from 0 to 1: numbers by size or by logarithm, names in alphabetical order."""
    distinct = sorted(set(values), key=lambda value: (str(type(value)), value))
    heights: list[float] = [float(index) for index in range(len(distinct))]
    if not any(isinstance(value, bool | str) or value is None for value in distinct):
        many_scales = min(distinct) > 0 and max(distinct) / min(distinct) >= SCALES
        heights = [math.log(value) if many_scales else float(value) for value in distinct]
    span = max(heights) - min(heights)
    return {v: (h - min(heights)) / span if span else 0.5 for v, h in zip(distinct, heights, strict=True)}


def _few(places: dict[Any, float]) -> list[tuple[Any, float]]:
    """Values to label, from the lowest up, with room between them."""
    kept: list[tuple[Any, float]] = []
    for value, place in places.items():
        if not kept or place - kept[-1][1] >= ROOM:
            kept.append((value, place))
    return kept
