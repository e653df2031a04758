"""How errors are distributed: wider with each step ahead, and as a normal distribution has it or not (Jarque & Bera 1980).
Knows errors; knows no model.

Legend: M windows, H horizon, C targets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import jarque_bera, norm

from lstm_ray import figure
from lstm_ray.evaluate.forecasts.view import View
from lstm_ray.evaluate.residuals.sample import FEW_APART, Sample, one_of_each
from lstm_ray.evaluate.told import Told
from lstm_ray.evaluate.words import number
from lstm_ray.figure import Figure
from lstm_ray.run_dir import Finding

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
CHANCE, CLEAR = 0.05, 0.01
SKEWED = 0.5
"""Skewness from which one side is called longer."""
POINTS = 200
"""Of a picture of quantiles against those of the normal distribution."""


@dataclass(frozen=True)
class Shape:
    """Standardised errors of windows that share no step, actual less forecast, in order, and what they say."""

    scaled_N: NDArray
    skewness: float
    kurtosis: float
    """3 where normal."""
    p: float

    @property
    def is_normal(self) -> bool:
        return self.p >= CHANCE


def shape(few: Sample) -> Shape | None:
    """None with fewer than FEW_APART windows that share no step, or errors that never vary."""
    scaled_N = np.sort(-one_of_each(few)[0])
    if len(scaled_N) < FEW_APART or not np.ptp(scaled_N) > 0:
        return None
    deviation = scaled_N.std()
    centred_N = (scaled_N - scaled_N.mean()) / deviation
    skewness, kurtosis = float((centred_N**3).mean()), float((centred_N**4).mean())
    return Shape(centred_N, skewness, kurtosis, float(jarque_bera(scaled_N).pvalue))


def told(view: View, whole: Sample, few: Sample, distribution: str | None) -> Told:
    """Sentence and pictures.

    Args:
        few: windows that share no step.
        distribution: of the head; none: it gives quantiles, or a point.
    """
    figures = [_by_lead(view, whole)] if np.isfinite(whole.error_MHC).any() else []
    found = shape(few)
    if found is None:
        return Told("", figures=figures)
    details = {
        "windows": len(found.scaled_N),
        "skewness": found.skewness,
        "kurtosis": found.kurtosis,
        "jarque_bera_p": found.p,
    }
    finding = _finding(found, distribution)
    return Told("", [finding], [*figures, _quantiles(found)], details={"normality": details})


def _finding(found: Shape, distribution: str | None) -> Finding:
    asked = f"{len(found.scaled_N)} errors of windows that share no step"
    p = f"Jarque-Bera p {_p(found.p)}"
    if found.is_normal:
        return Finding(severity="info", text=f"Errors may well be normal ({p} over {asked}).")
    tails = "heavier" if found.kurtosis > 3 else "lighter"
    words = f"{tails} tails than a normal distribution (kurtosis {found.kurtosis:.1f}, not 3)"
    if abs(found.skewness) >= SKEWED:
        words += f", and more {'underforecasts' if found.skewness > 0 else 'overforecasts'} far off than the other way"
        words += f" (skewness {found.skewness:.1f})"
    text = f"Errors have {words}; {p} over {asked}."
    if distribution == "gaussian" and found.p < CLEAR:
        advice = "A gaussian head cannot say that: try model.distribution student_t, or model.quantiles without one."
        return Finding(severity="advice", text=text, advice=advice)
    return Finding(severity="info", text=text)


def _by_lead(view: View, sample: Sample) -> Figure:
    """Quantiles of actual less forecast by step ahead."""
    residual_MHC = -sample.error_MHC
    kept_H = np.flatnonzero(np.isfinite(residual_MHC).any((0, 2)))
    quantile_QH = np.array([np.nanquantile(residual_MHC[:, h], LEVELS) for h in kept_H]).T
    lead_H = kept_H + 1
    width_H = quantile_QH[-1] - quantile_QH[0]
    name = "median"
    traces = figure.shaded(lead_H, quantile_QH[0], quantile_QH[-1], "middle 90 %", of=name)
    traces += figure.shaded(lead_H, quantile_QH[1], quantile_QH[-2], "middle 50 %", of=name)
    traces.append(figure.line(lead_H, quantile_QH[2], name, banded=True))
    axes = {
        "xaxis": {"title": {"text": "steps ahead"}},
        "yaxis": {"title": {"text": f"actual less forecast, {view.unit}"}},
    }
    caption = (
        f"The middle 90 % of errors span {number(float(width_H[0]))}{view.pooled} at step {lead_H[0]} and "
        f"{number(float(width_H[-1]))} at step {lead_H[-1]}, where the median error is {number(float(quantile_QH[2, -1]))}."
    )
    return Figure(id="residuals-by-horizon", title="Errors by horizon", caption=caption, traces=traces, layout=axes)


def _quantiles(found: Shape) -> Figure:
    """Quantiles of errors against those of the normal distribution."""
    num = len(found.scaled_N)
    kept = np.unique(np.linspace(0, num - 1, min(num, POINTS)).astype(np.int64))
    normal = norm.ppf((kept + 0.5) / num)
    ends = [float(normal[0]), float(normal[-1])]
    points = figure.line(normal, found.scaled_N[kept], "errors", "markers")
    axes = {"xaxis": {"title": {"text": "normal quantile"}}, "yaxis": {"title": {"text": "standardised error"}}}
    most = float(np.abs(found.scaled_N).max())
    caption = (
        f"Each of {num} errors of windows that share no step against what a normal distribution has in its place: on the line "
        f"they agree. The largest is {most:.1f} standard deviations; of so many normal ones {abs(ends[0]):.1f} is usual."
    )
    traces = [figure.line(ends, ends, "normal"), points]
    return Figure(id="residual-quantiles", title="Are errors normal?", caption=caption, traces=traces, layout=axes)


def _p(p: float) -> str:
    return "below 0.001" if p < 0.001 else f"{p:.2g}"
