"""The likeness of synthetic sequences as a table, sentences and figures. Knows its numbers; knows no sequences."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lstm_ray import figure
from lstm_ray.figure import Figure
from lstm_ray.plan.experience.fidelity import CONTROL, Fidelity
from lstm_ray.run_dir import Finding

TELLS_APART = 0.75
"""Accuracy from which windows are said to be told apart."""


def table(found: Mapping[str, Fidelity]) -> dict[str, object]:
    """A row for each kind, and the control."""
    columns = [
        "kind",
        "windows",
        "distance of values",
        "largest gap",
        "autocorrelation",
        "between columns",
        "told apart",
    ]
    rows = [
        [_said(kind), f.windows, f.wasserstein, f.ks, f.autocorrelation, f.correlation, f.accuracy]
        for kind, f in found.items()
    ]
    caption = (
        "Distances from real windows, 0 is alike: of values in training deviations (1-Wasserstein), of their distribution "
        "functions (Kolmogorov-Smirnov), of autocorrelations up to two seasons, of correlations between columns; and how "
        "often a classifier tells them from real ones, 0.5 by chance. The last row has real windows against other real ones."
    )
    return {"title": "Fidelity of synthetic sequences", "columns": columns, "rows": rows, "caption": caption}


def findings(found: Mapping[str, Fidelity]) -> list[Finding]:
    """What the classifier and the distances say, a sentence for each kind."""
    control = found[CONTROL]
    told = []
    for kind, one in found.items():
        if kind == CONTROL:
            continue
        text = (
            f"Synthetic {_said(kind)}: values lie {one.wasserstein:.2g} training deviations from real ones "
            f"({control.wasserstein:.2g} between real and real)"
        )
        if one.autocorrelation is not None and control.autocorrelation is not None:
            text += f", autocorrelations {one.autocorrelation:.2g} ({control.autocorrelation:.2g})"
        if one.accuracy is None:
            told.append(Finding(severity="info", text=text + "; too few to ask a classifier."))
            continue
        beside = f" ({control.accuracy:.0%} between real and real)" if control.accuracy is not None else ""
        text += f"; a classifier that tells them from real ones is right {one.accuracy:.0%} of the time{beside}"
        if one.accuracy < TELLS_APART:
            told.append(Finding(severity="info", text=text + "."))
        else:
            advice = "They are not what the data looks like: trust the verdict on validation, not their number."
            told.append(Finding(severity="advice", text=text + ": they are told apart.", advice=advice))
    return told


def figures(found: Mapping[str, Fidelity]) -> list[Figure]:
    """Autocorrelations, and quantiles against those of real windows."""
    first = next(iter(found.values()))
    made = {kind: one for kind, one in found.items() if kind != CONTROL}
    lags = np.arange(1, len(first.acf_K) + 1)
    worst = max(made, key=lambda kind: made[kind].autocorrelation or 0.0)
    far = max(made, key=lambda kind: made[kind].wasserstein)
    return [
        figure.lines(
            "fidelity-autocorrelation",
            "Autocorrelation of real and synthetic sequences",
            f"Furthest from real is '{_said(worst)}', by {made[worst].autocorrelation or 0.0:.2g} on average over {len(lags)} "
            "lags.",
            lags,
            {"real": first.real_acf_K, **{_said(kind): one.acf_K for kind, one in made.items()}},
            x_title="lag in steps",
            y_title="autocorrelation",
        ),
        figure.lines(
            "fidelity-quantiles",
            "Quantiles of synthetic against real values",
            f"On the diagonal both are alike; furthest off is '{_said(far)}', by {made[far].wasserstein:.2g} training "
            "deviations on average.",
            first.real_quantiles,
            {"alike": first.real_quantiles, **{_said(kind): one.quantiles for kind, one in made.items()}},
            x_title="real, in training deviations",
            y_title="synthetic, in training deviations",
        ),
    ]


def _said(kind: str) -> str:
    return kind.replace("_", " ")
