"""Labels of steps as figures: what was told and what was true, over time and in sum. Knows answers; knows no model.

Legend: M steps, A answers for one step: its classes, or its value alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.timeline import calendar
from lstm_ray.data.windows import Segments
from lstm_ray.evaluate.classes.clocks import ByClock
from lstm_ray.evaluate.names import POLICY
from lstm_ray.evaluate.words import called, number, percent
from lstm_ray.figure import Figure, bars, heatmap, line, lines

SHOWN_STEPS = 400
"""Steps of the example stretch."""
SHOWN_POINTS = 1000
"""Points of a scatter; more are thinned evenly."""
SHOWN_SERIES = 20
"""Of more series, those told worst."""
NUM_LEVELS = 5
"""Groups of steps by their true value, equally many in each."""


@dataclass(frozen=True)
class Answers:
    """The labelled test steps: what each model tells, and what is true."""

    segments: Segments
    rows: NDArray
    """int64 [M], ascending."""
    answers: dict[str, NDArray]
    """By model, [M, A]."""
    label_M: NDArray

    def error(self, name: str) -> NDArray:
        """1 where a step's class is told wrong, else 0; or the absolute error of its value. float64 [M]."""
        if self.segments.schema.classes:
            return (self.answers[name].argmax(axis=1) != self.label_M).astype(np.float64)
        return np.abs(self.answers[name][:, 0].astype(np.float64) - self.label_M)

    def by_series(self) -> dict[str, NDArray]:
        """Positions of each series' steps."""
        names, of_S = np.unique(np.asarray(self.segments.series, dtype=np.str_), return_inverse=True)
        of_M = of_S[self.segments.series_of(self.rows)]
        order = np.argsort(of_M, kind="stable")
        bounds = np.searchsorted(of_M[order], np.arange(len(names) + 1))
        held = [(str(name), order[bounds[i] : bounds[i + 1]]) for i, name in enumerate(names)]
        return {name: positions for name, positions in held if len(positions)}

    def error_by_series(self, name: str) -> dict[str, float]:
        """A model's mean error on each series."""
        error_M = self.error(name)
        return {series: float(error_M[chosen].mean()) for series, chosen in self.by_series().items()}

    def local_times(self) -> NDArray | None:
        """Each step's time on the calendar's clock; None where steps have no times."""
        schema = self.segments.schema
        return calendar.local(self.segments.times(self.rows), schema.time_zone) if schema.is_time else None

    def stretch(self, rank: float) -> NDArray:
        """Positions of an example: of the stretches of SHOWN_STEPS steps (or as many as the longest segment has) that whose
        mean error has this rank, from 0 for the best to 1 for the worst."""
        _, first, count = np.unique(self.segments.series_of(self.rows), return_index=True, return_counts=True)
        size = min(SHOWN_STEPS, int(count.max()))
        every = max(1, size // 4)
        starts = np.concatenate(
            [f + np.arange(0, n - size + 1, every) for f, n in zip(first, count, strict=True) if n >= size]
        )
        sums = np.concatenate([[0.0], np.cumsum(self.error(POLICY))])
        order = np.argsort(sums[starts + size] - sums[starts], kind="stable")
        shown = int(starts[order[int(rank * (len(starts) - 1))]])
        return np.arange(shown, shown + size)


def stretches(seen: Answers, rival: str) -> list[Figure]:
    """Labels over time beside the truth: a stretch told as well as most, and the worst where there is another."""
    middle, worst = seen.stretch(0.5), seen.stretch(1.0)
    draw = _stretch_of_classes if seen.segments.schema.classes else _stretch_of_values
    found = [draw(seen, rival, middle, "stretch", "A stretch of the test part", "by this a stretch in the middle")]
    if worst[0] != middle[0]:
        found.append(draw(seen, rival, worst, "worst-stretch", "The worst stretch", "no other is told worse"))
    return found


def by_series(seen: Answers, rival: str) -> list[Figure]:
    """Mean error of each series; none where there is one."""
    mean = {who: seen.error_by_series(who) for who in (POLICY, rival)}
    held = mean[POLICY]
    if len(held) < 2:
        return []
    shown = sorted(held, key=lambda name: -mean[POLICY][name])[:SHOWN_SERIES]
    ahead = sum(mean[POLICY][name] < mean[rival][name] for name in held)
    form = percent if seen.segments.schema.classes else number
    what = "Share of steps told wrong" if seen.segments.schema.classes else "Mean absolute error"
    return [
        bars(
            "error-by-series",
            "Error by series",
            f"{what}, from {form(mean[POLICY][shown[0]])} ('{shown[0]}') down to {form(min(mean[POLICY].values()))}; the "
            f"policy is better than the {called(rival)} on {ahead:,} of {len(held):,} series"
            f"{f', of which the {SHOWN_SERIES} worst are drawn' if len(held) > SHOWN_SERIES else ''}.",
            shown,
            {called(who): [mean[who][name] for name in shown] for who in (POLICY, rival)},
            y_title=what.lower(),
        )
    ]


def value_error_figures(seen: Answers, rival: str, clocks: list[ByClock]) -> list[Figure]:
    """Where labels that are values err."""
    mean = float(seen.error(POLICY).mean())
    return [
        _told_beside_true(seen),
        *_by_level(seen, rival),
        *(
            one.figure(
                f"Error by {one.clock}",
                f"Mean absolute error of the policy: from {number(one.error_G[POLICY].min())} "
                f"({one.names[one.extremes(POLICY)[0]]}) to {number(one.error_G[POLICY].max())} "
                f"({one.names[one.extremes(POLICY)[1]]}), {number(mean)} over all.",
                "mean absolute error",
            )
            for one in clocks
        ),
    ]


@dataclass(frozen=True)
class ByLevel:
    """Errors of steps by how large the true value is, G groups from low to high."""

    names: list[str]
    bias_G: dict[str, NDArray]
    """By model: told minus true."""


def by_level(seen: Answers, names: list[str]) -> ByLevel | None:
    """None where nearly all true values are alike."""
    edges = np.unique(np.quantile(seen.label_M, np.linspace(0, 1, NUM_LEVELS + 1)))
    if len(edges) < 3:
        return None
    group_M = np.clip(np.searchsorted(edges, seen.label_M, side="right") - 1, 0, len(edges) - 2)
    count_G = np.bincount(group_M, minlength=len(edges) - 1)
    kept = np.flatnonzero(count_G)
    bias = {}
    for who in names:
        error_M = seen.answers[who][:, 0].astype(np.float64) - seen.label_M
        bias[who] = np.bincount(group_M, error_M, len(count_G))[kept] / count_G[kept]
    return ByLevel([f"{number(float(edges[g]))} to {number(float(edges[g + 1]))}" for g in kept], bias)


def _by_level(seen: Answers, rival: str) -> list[Figure]:
    found = by_level(seen, [POLICY, rival])
    if found is None:
        return []
    low, high = found.bias_G[POLICY][[0, -1]]
    return [
        bars(
            "bias-by-level",
            "Too high or too low, by the true value",
            f"Told minus true on average: {low:+.3g} where the true value is lowest ({found.names[0]}), {high:+.3g} where it "
            f"is highest ({found.names[-1]}). A cautious policy tells low values too high and high ones too low.",
            found.names,
            {called(who): bias_G.tolist() for who, bias_G in found.bias_G.items()},
            x_title=f"true {seen.segments.schema.label or 'value'}",
            y_title="told minus true",
        )
    ]


def _stretch_of_classes(seen: Answers, rival: str, shown: NDArray, id: str, title: str, what: str) -> Figure:
    classes = seen.segments.schema.classes
    true, said = seen.label_M[shown].astype(np.int64), seen.answers[POLICY][shown].argmax(axis=1)
    other = seen.answers[rival][shown].argmax(axis=1)
    named = {"true": true, POLICY: said, called(rival): other}
    name = seen.segments.series[int(seen.segments.series_of(seen.rows[shown[:1]])[0])]
    right = [percent(float((true == one).mean())) for one in (said, other)]
    figure = heatmap(
        id,
        title,
        f"Series '{name}': {right[0]} of these {len(shown)} steps are told right, {right[1]} by the {called(rival)}: {what}.",
        seen.segments.times(seen.rows[shown]).tolist(),
        list(named),
        [codes.tolist() for codes in named.values()],
    )
    bar = {"tickvals": list(range(len(classes))), "ticktext": list(classes)}
    words: dict[str, Any] = {"text": [[classes[code] for code in codes] for codes in named.values()], "colorbar": bar}
    words |= {"zmin": 0, "zmax": len(classes) - 1, "hovertemplate": "%{x}: %{text}<extra>%{y}</extra>"}
    return figure.model_copy(update={"traces": [figure.traces[0] | words]})


def _stretch_of_values(seen: Answers, rival: str, shown: NDArray, id: str, title: str, what: str) -> Figure:
    mine, other = (number(float(seen.error(name)[shown].mean())) for name in (POLICY, rival))
    text = f"mean absolute error {mine} for the policy and {other} for the {called(rival)} over {len(shown)} steps: {what}."
    return _over_time(
        seen,
        shown,
        (id, title, text),
        {
            "true": seen.label_M[shown].tolist(),
            POLICY: seen.answers[POLICY][shown, 0].tolist(),
            called(rival): seen.answers[rival][shown, 0].tolist(),
        },
    )


def _over_time(seen: Answers, shown: NDArray, words: tuple[str, str, str], series: dict[str, list]) -> Figure:
    """``words``: id, title, and what is said of the stretch."""
    segments, rows = seen.segments, seen.rows[shown]
    name = segments.series[int(segments.series_of(rows[:1])[0])]
    id, title, text = words
    return lines(
        id,
        title,
        f"Series '{name}': {text}",
        segments.times(rows).tolist(),
        series,
        y_title=segments.schema.label or "",
    )


def _told_beside_true(seen: Answers) -> Figure:
    some = np.unique(np.linspace(0, len(seen.rows) - 1, min(len(seen.rows), SHOWN_POINTS)).astype(np.int64))
    order = some[np.argsort(seen.label_M[some], kind="stable")]
    true, said = seen.label_M[order], seen.answers["policy"][order, 0]
    deviates = true.std() > 0 and said.std() > 0
    together = f" Their correlation is {np.corrcoef(true, said)[0, 1]:.3f}." if deviates else ""
    figure = lines(
        "told-beside-true",
        "Told beside true",
        f"{len(order):,} test steps: true values from {number(float(true[0]))} to {number(float(true[-1]))}, told ones from "
        f"{number(float(said.min()))} to {number(float(said.max()))}; a perfect policy lies on the line.{together}",
        true.tolist(),
        {POLICY: said.tolist()},
        x_title="true",
        y_title="told",
        mode="markers",
    )
    ends = [true[0], true[-1]]
    return figure.model_copy(update={"traces": [*figure.traces, line(ends, ends, "perfect")]})
