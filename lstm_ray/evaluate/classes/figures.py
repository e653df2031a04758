"""A classifier's scores as figures. Knows counts and probabilities; knows no model.

Legend: M sequences, K classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.windows import Segments
from lstm_ray.evaluate.classes.metrics import ClassSums
from lstm_ray.evaluate.words import percent
from lstm_ray.figure import Figure, bars, heatmap, lines

SHOWN_SEQUENCES = 1000
"""Points of the figure over time; more are thinned evenly."""


def class_figures(
    sums: ClassSums,
    rival_sums: ClassSums,
    rival: str,
    probabilities_MK: NDArray,
    segments: Segments,
    ids_M: NDArray,
) -> list[Figure]:
    """Every figure of a classifier's evaluation, those that matter most first."""
    shown = rarest(sums)
    return [
        confusion(sums),
        recall(sums, rival_sums, rival),
        _over_time(sums, shown, probabilities_MK, segments, ids_M),
        calibration(sums, shown),
    ]


def rarest(sums: ClassSums) -> int:
    """Of the classes that occur, the one that does least often."""
    return int(np.argmin(np.where(sums.confusion_KK.sum(axis=1) > 0, sums.confusion_KK.sum(axis=1), np.inf)))


def confusion(sums: ClassSums, unit: str = "sequences") -> Figure:
    """What was beside what was said; ``unit`` is what has a class."""
    right = int(np.diag(sums.confusion_KK).sum())
    return heatmap(
        "confusion",
        "Confusion matrix",
        f"{right:,} of {sums.count:,} {unit} are right ({percent(right / sums.count)}); rows are what was, columns what "
        "the policy said.",
        list(sums.classes),
        list(sums.classes),
        sums.confusion_KK.tolist(),
        x_title="predicted",
        y_title="actual",
    )


def recall(sums: ClassSums, rival_sums: ClassSums, rival: str) -> Figure:
    """Share of each class that is found, by the policy and by the best baseline."""
    mine, other = sums.by_class(), rival_sums.by_class()
    known = [name for name in sums.classes if mine[name]["recall"] is not None]
    found = [mine[name]["recall"] or 0.0 for name in known]
    said = ", ".join(f"{percent(value)} of '{name}'" for name, value in zip(known, found, strict=True))
    return bars(
        "recall",
        "Recall by class",
        f"The policy finds {said}.",
        known,
        {"policy": found, rival.replace("_", " "): [other[name]["recall"] or 0.0 for name in known]},
        y_title="share found",
    )


def _over_time(sums: ClassSums, shown: int, probabilities_MK: NDArray, segments: Segments, ids_M: NDArray) -> Figure:
    """Each sequence's probability of the rarest class, by what it turned out to be."""
    assert segments.label is not None
    name = sums.classes[shown]
    order = np.argsort(segments.first_step[ids_M], kind="stable")
    order = order[:: -(-len(order) // SHOWN_SEQUENCES)]
    probability, label = probabilities_MK[order, shown], segments.label[ids_M[order]]
    series = {
        f"was '{actual}'": np.where(label == index, probability, np.nan).tolist()
        for index, actual in enumerate(sums.classes)
    }
    mean = {
        who: float(np.mean(probability[chosen])) if chosen.any() else 0.0
        for who, chosen in (("is", label == shown), ("other", label != shown))
    }
    return lines(
        "probability-over-time",
        f"Probability of '{name}' over time",
        f"On average the policy gives '{name}' {percent(mean['is'])} where that is what it was and "
        f"{percent(mean['other'])} elsewhere.",
        segments.schema.times(segments.first_step[ids_M[order]]).tolist(),
        series,
        y_title=f"probability of '{name}'",
        mode="markers",
    )


def calibration(sums: ClassSums, shown: int) -> Figure:
    """Probabilities of one class beside its frequency where they were given."""
    said, happened, size = sums.calibration(shown)
    name = sums.classes[shown]
    gap = float((np.abs(said - happened) * size).sum() / size.sum())
    return lines(
        "calibration",
        "Calibration",
        f"Where the policy says '{name}' with some probability, the share that was '{name}' is {100 * gap:.1f} "
        "percentage points away on average; a perfect one lies on the diagonal.",
        said.tolist(),
        {"policy": happened.tolist(), "perfect": said.tolist()},
        x_title=f"probability of '{name}'",
        y_title=f"share that was '{name}'",
        mode="lines+markers",
    )
