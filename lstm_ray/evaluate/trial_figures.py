"""A search of settings in pictures: how the trials went, and which settings did well. Knows no training and no Ray."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lstm_ray import figure
from lstm_ray.evaluate.trials import Search, importance, written
from lstm_ray.figure import Figure

SCALES = 5
"""A setting whose largest value is this many times its smallest is drawn by its logarithm."""
ROOM = 0.08
"""Least distance of two labels on an axis, as a share of its height."""
MOST_NAMED = 7
"""Trials named in a legend: the best."""


def figures(search: Search) -> list[Figure]:
    """Loss curves, the best so far, and loss by setting."""
    finished, best = search.finished, search.best
    epochs = list(range(1, search.budget + 1))
    padded = {str(t.number): [*t.losses, *[math.nan] * (search.budget - len(t.losses))] for t in finished}
    stopped = sum(len(trial.losses) < search.budget for trial in finished)
    so_far = np.minimum.accumulate([trial.best_loss for trial in finished])
    drawn = [
        figure.lines(
            "trial-losses",
            "Validation loss of the trials",
            f"Trial {best.number} was best after epoch {best.best_epoch}, loss {best.best_loss:.4g}; "
            f"{stopped} of {len(finished)} trials were stopped early.",
            epochs,
            padded,
            x_title="epoch",
            y_title="validation loss",
            mode="lines+markers",
        ),
        figure.lines(
            "best-so-far",
            "Lowest loss so far",
            f"{len(finished)} trials brought the lowest validation loss from {so_far[0]:.4g} to "
            f"{so_far[-1]:.4g}, first reached by trial {finished[int(np.argmin(so_far))].number}.",
            [trial.number for trial in finished],
            {"lowest loss": so_far.tolist()},
            x_title="trial",
            y_title="validation loss",
            mode="lines+markers",
        ),
    ]
    if len(finished) > 1:
        drawn.append(_by_setting(search))
    if correlations := importance(search):
        path, (rho, _) = next(iter(correlations.items()))
        drawn.append(
            figure.bars(
                "importance",
                "Which setting goes along with the loss",
                f"{path} goes along most, rank correlation {rho:+.2f} over {len(finished)} trials; below zero, higher values "
                "went with a lower loss. All settings vary at once.",
                list(correlations),
                {"rank correlation": [rho for rho, _ in correlations.values()]},
            )
        )
    return drawn


def _by_setting(search: Search) -> Figure:
    """Parallel coordinates: a line per trial, the best first, through its settings to its loss at the right.

    Lines and text, not plotly's own parallel coordinates: those need WebGL, which paper and remote desktops lack.
    """
    best, trials = search.best, sorted(search.finished, key=lambda trial: trial.best_loss)
    names = [*(path.split(".")[1] for path in best.settings), "loss"]
    columns = [[trial.settings[path] for trial in trials] for path in best.settings]
    placed = [_places(values) for values in [*columns, [trial.best_loss for trial in trials]]]
    across = list(range(len(names)))
    traces: list[dict[str, Any]] = []
    for rank, trial in enumerate(trials):
        values = [*trial.settings.values(), trial.best_loss]
        through = [places[value] for places, value in zip(placed, values, strict=True)]
        texts = [f"{name} {written(value)}" for name, value in zip(names, values, strict=True)]
        line = {"type": "scatter", "mode": "lines+markers", "x": across, "y": figure.plain(through), "text": texts}
        named = {"name": f"trial {trial.number}", "showlegend": rank < MOST_NAMED, "hoverinfo": "text+name"}
        traces.append(line | named)
    ticks = [
        (at, place, f"\N{NO-BREAK SPACE}{written(value)}")
        for at, places in zip(across, placed, strict=True)
        for value, place in _few(places)
    ]
    at, place, texts = (list(part) for part in zip(*ticks, strict=True))
    label = {"type": "scatter", "mode": "text", "x": at, "y": figure.plain(place), "text": texts, "xaxis": "x2"}
    traces.append(label | {"textposition": "middle right", "showlegend": False, "hoverinfo": "skip"})
    chosen = ", ".join(f"{path.split('.')[1]} {written(value)}" for path, value in best.settings.items())
    span = [-0.2, len(names) - 0.3]
    return Figure(
        id="loss-by-setting",
        title="Loss by setting",
        caption=f"Each line is a trial, the lower at the right the better. The best, loss {best.best_loss:.4g}: {chosen}.",
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
