"""Labels of steps as figures: what was told and what was true, over time and in sum. Knows answers; knows no model.

Legend: M steps, A answers for one step: its classes, or its value alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.windows import Segments
from lstm_ray.evaluate.classes.figures import calibration, confusion, rarest, recall
from lstm_ray.evaluate.classes.metrics import ClassSums
from lstm_ray.evaluate.words import number, percent
from lstm_ray.figure import Figure, lines

SHOWN_STEPS = 400
"""Steps of the example stretch."""
SHOWN_POINTS = 1000
"""Points of a scatter; more are thinned evenly."""


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
        names = np.asarray(self.segments.series, dtype=np.str_)[self.segments.series_of(self.rows)]
        return {str(name): np.flatnonzero(names == name) for name in np.unique(names)}

    def stretch(self) -> NDArray:
        """Positions of the example: of the unbroken stretches of SHOWN_STEPS steps, one whose error is in the middle."""
        starts = np.arange(0, max(1, len(self.rows) - SHOWN_STEPS + 1), max(1, SHOWN_STEPS // 4))
        segment_M = self.segments.series_of(self.rows)
        ends = np.minimum(starts + SHOWN_STEPS, len(self.rows))
        whole = segment_M[starts] == segment_M[ends - 1]
        if not whole.any():
            return np.flatnonzero(segment_M == segment_M[0])[:SHOWN_STEPS]
        starts, ends = starts[whole], ends[whole]
        sums = np.concatenate([[0.0], np.cumsum(self.error("policy"))])
        middle = int(np.argsort((sums[ends] - sums[starts]) / (ends - starts), kind="stable")[(len(starts) - 1) // 2])
        return np.arange(starts[middle], ends[middle])


def class_label_figures(seen: Answers, sums: ClassSums, rival_sums: ClassSums, rival: str) -> list[Figure]:
    """Every figure of labels that are classes, those that matter most first."""
    return [
        confusion(sums, "steps"),
        _stretch_of_classes(seen),
        recall(sums, rival_sums, rival),
        calibration(sums, rarest(sums)),
    ]


def value_label_figures(seen: Answers, rival: str) -> list[Figure]:
    """Every figure of labels that are values, those that matter most first."""
    return [
        _stretch_of_values(seen, rival),
        _told_beside_true(seen),
    ]


def _stretch_of_classes(seen: Answers) -> Figure:
    classes, shown = seen.segments.schema.classes, seen.stretch()
    true, said = seen.label_M[shown].astype(np.int64), seen.answers["policy"][shown].argmax(axis=1)
    named = {"true": true, "policy": said}
    return _over_time(
        seen,
        shown,
        f"{percent(float((true == said).mean()))} of the {len(shown)} steps are told right: by this a stretch in the "
        "middle.",
        {name: [classes[code] for code in codes] for name, codes in named.items()},
    )


def _stretch_of_values(seen: Answers, rival: str) -> Figure:
    shown, said = seen.stretch(), rival.replace("_", " ")
    mine, other = (number(float(seen.error(name)[shown].mean())) for name in ("policy", rival))
    return _over_time(
        seen,
        shown,
        f"Mean absolute error {mine} for the policy and {other} for the {said} over these {len(shown)} steps: by this a "
        "stretch in the middle.",
        {
            "true": seen.label_M[shown].tolist(),
            "policy": seen.answers["policy"][shown, 0].tolist(),
            said: seen.answers[rival][shown, 0].tolist(),
        },
    )


def _over_time(seen: Answers, shown: NDArray, caption: str, series: dict[str, list]) -> Figure:
    segments, rows = seen.segments, seen.rows[shown]
    name = segments.series[int(segments.series_of(rows[:1])[0])]
    return lines(
        "stretch",
        "A stretch of the test part",
        f"Series '{name}': {caption[:1].lower()}{caption[1:]}",
        segments.times(rows).tolist(),
        series,
        y_title=segments.schema.label or "",
        mode="markers" if segments.schema.classes else "lines",
    )


def _told_beside_true(seen: Answers) -> Figure:
    some = np.unique(np.linspace(0, len(seen.rows) - 1, min(len(seen.rows), SHOWN_POINTS)).astype(np.int64))
    order = some[np.argsort(seen.label_M[some], kind="stable")]
    true, said = seen.label_M[order], seen.answers["policy"][order, 0]
    deviates = true.std() > 0 and said.std() > 0
    together = f" Their correlation is {np.corrcoef(true, said)[0, 1]:.3f}." if deviates else ""
    return lines(
        "told-beside-true",
        "Told beside true",
        f"{len(order):,} test steps: true values from {number(float(true[0]))} to {number(float(true[-1]))}, told ones from "
        f"{number(float(said.min()))} to {number(float(said.max()))}; a perfect policy lies on the diagonal.{together}",
        true.tolist(),
        {"policy": said.tolist(), "perfect": true.tolist()},
        x_title="true",
        y_title="told",
        mode="markers",
    )
