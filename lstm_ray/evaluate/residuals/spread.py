"""Whether errors are larger where forecasts are high: heteroscedasticity (Breusch & Pagan 1979, as Koenker 1981 made robust).
Knows errors; knows no model.

Legend: M windows, H horizon, C targets, D tenths.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from statsmodels.stats.diagnostic import het_breuschpagan

from lstm_ray.evaluate.forecasts.view import View
from lstm_ray.evaluate.residuals.sample import FEW_APART, Sample, one_of_each
from lstm_ray.evaluate.told import Told
from lstm_ray.evaluate.words import number
from lstm_ray.figure import Figure, plain
from lstm_ray.run_dir import Finding

TENTHS = 10
CLEAR = 0.01
LARGE = 2.0
"""Times by which errors differ from which there is advice."""


@dataclass(frozen=True)
class Spread:
    """Size of errors by tenths of the forecast."""

    level_D: NDArray
    """Mean forecast of each tenth, from the lowest."""
    size_D: NDArray
    """Mean absolute error there."""
    p: float | None
    """Of the test, whether size hangs on the forecast; None with too few windows that share no step."""
    num: int
    """Windows that were tested."""

    @property
    def ratio(self) -> float | None:
        """Size in the highest tenth over that in the lowest; None where there is none."""
        return float(self.size_D[-1] / self.size_D[0]) if self.size_D[0] > 0 else None


def spread(whole: Sample, few: Sample) -> Spread | None:
    """None where nothing was measured, or all forecasts are alike.

    Args:
        few: windows that share no step.
    """
    seen = np.isfinite(whole.error_MHC)
    level_N, size_N = whole.forecast_MHC[seen], np.abs(whole.error_MHC[seen])
    if len(level_N) < TENTHS or not np.ptp(level_N) > 0:
        return None
    order = np.argsort(level_N, kind="stable")
    parts = np.array_split(order, TENTHS)
    level_D = np.array([level_N[part].mean() for part in parts])
    size_D = np.array([size_N[part].mean() for part in parts])
    error_M, level_M = one_of_each(few)
    p = None
    if len(error_M) >= FEW_APART and np.ptp(level_M) > 0 and np.ptp(error_M) > 0:
        with_level = np.stack([np.ones(len(level_M)), (level_M - level_M.mean()) / level_M.std()], axis=1)
        p = float(het_breuschpagan(error_M, with_level)[1])
    return Spread(level_D, size_D, p, len(error_M))


def told(view: View, whole: Sample, few: Sample) -> Told:
    """Sentence, picture and numbers."""
    found = spread(whole, few)
    if found is None:
        return Told("")
    details = {"ratio": found.ratio, "breusch_pagan_p": found.p, "windows": found.num}
    return Told("", _findings(found, view), [_figure(found, view)], details={"heteroscedasticity": details})


def _findings(found: Spread, view: View) -> list[Finding]:
    low, high, ratio = float(found.size_D[0]), float(found.size_D[-1]), found.ratio
    if found.p is None or ratio is None:
        return []
    p = f"Breusch-Pagan p {'below 0.001' if found.p < 0.001 else f'{found.p:.2g}'} over {found.num} windows that share no step"
    where = f"{number(high)}{view.pooled} in the highest tenth of forecasts, {number(low)} in the lowest"
    if found.p >= CLEAR:
        return [
            Finding(severity="info", text=f"The size of errors does not clearly hang on the forecast: {where} ({p}).")
        ]
    text = f"The size of errors hangs on the level of the forecast: {where} ({p})."
    if ratio >= LARGE:
        advice = (
            "Errors that grow with the level: try preprocess.transform log1p, or model.normalisation mean_deviation."
        )
        return [Finding(severity="advice", text=text, advice=advice)]
    return [Finding(severity="info", text=text)]


def _figure(found: Spread, view: View) -> Figure:
    top = int(found.size_D.argmax())
    low, high, most = (number(float(found.size_D[d])) for d in (0, -1, top))
    bar = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": plain(found.level_D),
        "y": plain(found.size_D),
        "name": "policy",
    }
    caption = (
        f"Mean absolute error by tenths of what is forecast: {low}{view.pooled} where forecasts are lowest, {high} where "
        f"they are highest, and most around {number(float(found.level_D[top]))} ({most})."
    )
    axes = {
        "xaxis": {"title": {"text": f"forecast, {view.unit}"}},
        "yaxis": {"title": {"text": f"mean absolute error, {view.unit}"}},
    }
    return Figure(
        id="error-by-forecast", title="Size of errors by what is forecast", caption=caption, traces=[bar], layout=axes
    )
