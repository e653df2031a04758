"""What training looked like, with the limits that windows of data like it keep: plain numbers for a policy. No rows travel.

Knows segments and a policy's predictions. Limits hold for whichever way values arrive: those of all series step by step, as
when a fleet reports, and those of one series after another, as when histories are sent; of each the larger.
Shapes: R rows, N of them or of values, F columns, S stretches, W values of a window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.parts import Boundaries
from lstm_ray.data.steps import rows_in
from lstm_ray.data.windows import Segments
from lstm_ray.model.policy import Policy
from lstm_ray.monitor.drift import drift, joint, predicted
from lstm_ray.monitor.drift.column import MISSING
from lstm_ray.monitor.drift.distances import MEASURES, measured
from lstm_ray.monitor.drift.limits import FEWEST, limits, starts
from lstm_ray.monitor.errors import validated
from lstm_ray.sections.operate import MonitorConfig

GRID = 200
"""Quantiles of training values that travel: a distance is known to within half of one, and so are its limits."""
MOST_STRETCHES = 120
MOST_ROWS = 200_000
"""Rows, evenly spread, that the joint score is fitted on."""
MORE_MISSING = 0.05
"""Share of steps by which more may be missing than in any stretch of training."""


def of(
    policy: Policy,
    segments: Segments,
    bounds: Boundaries,
    monitor: MonitorConfig,
    missing: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """All that a policy's monitor holds live data against: ``full``, and ``validated.of``."""
    told = predicted.values(policy, segments, bounds)
    return full(segments, bounds, monitor, missing, told) | validated.of(policy, segments, bounds)


def full(
    segments: Segments,
    bounds: Boundaries,
    monitor: MonitorConfig,
    missing: Mapping[str, float] | None = None,
    predicted: Sequence[NDArray] = (),
) -> dict[str, Any]:
    """``drift.reference``, and limits.

    Args:
        segments: imputed and unscaled.
        missing: share of empty cells in the run's table, of inputs, of which segments tell no more.
        predicted: medians that the policy tells, [N, targets], in each way that they may arrive (``predicted.values``).

    Returns:
        ``columns`` (each with ``grid`` and ``limits`` beside ``drift.reference``'s), ``joint`` (``joint.fitted``, and its
        score's ``column``), ``predictions`` (by target), ``window``, ``false_alarms``, ``stretches``; where the training part
        is too short, ``no_limits`` says so, and nothing has limits.
    """
    found = drift.reference(segments, bounds)
    window = monitor.window
    told: dict[str, Any] = {"window": window, "false_alarms": monitor.false_alarms}
    rows_O = _ways(segments, np.flatnonzero(rows_in(segments, bounds, "train")))
    values = {name: values_R for name, values_R in columns_of(segments).items() if name in found["columns"]}
    columns = {name: found["columns"][name] | {"grid": _grid(values_R[rows_O[0]])} for name, values_R in values.items()}
    num_apart = min(given["count"] for given in columns.values()) // window if columns else 0
    if num_apart < FEWEST:
        text = (
            f"the training part holds {num_apart} stretches of {window} values; limits take {FEWEST} (monitor.window)"
        )
        return found | told | {"no_limits": text}
    watched = {name: [values_R[rows] for rows in rows_O] for name, values_R in values.items()}
    all_RF = np.column_stack(list(values.values()))
    every = -(-len(rows_O[0]) // MOST_ROWS)
    together = joint.fitted(all_RF[rows_O[0][::every]], list(values))
    if together is not None:
        own = [list(values).index(name) for name in together["columns"]]
        watched[joint.TOGETHER] = [joint.scores(together, all_RF[rows][:, own]) for rows in rows_O]
        described = _described(watched[joint.TOGETHER][0])
        together["column"] = columns[joint.TOGETHER] = described
    # Where predictions are watched, too, each family has half of the rate.
    rate = monitor.false_alarms / (2 if len(predicted) else 1)
    _limit(columns, watched, window, rate)
    columns.pop(joint.TOGETHER, None)
    for name, given in columns.items():
        given["limits"][MISSING] = _missing_limit(watched[name], (missing or {}).get(name, 0.0), window)
    told |= {"stretches": num_apart}
    if together is not None:
        told["joint"] = together
    if len(predicted):
        told |= _of_predictions(segments, predicted, window, rate)
    return {"columns": columns, **told}


def _of_predictions(segments: Segments, predicted: Sequence[NDArray], window: int, rate: float) -> dict[str, Any]:
    schema = segments.schema
    names = schema.target or [schema.label or "class"]
    apart = len(predicted[0]) // window
    if apart < FEWEST:
        return {"no_prediction_limits": f"{apart} stretches of {window} predictions; limits take {FEWEST}"}
    given = {name: _described(predicted[0][:, c]) for c, name in enumerate(names)}
    watched = {name: [way[:, c] for way in predicted] for c, name in enumerate(names)}
    _limit(given, watched, window, rate)
    return {"predictions": given}


def _limit(columns: dict[str, Any], watched: Mapping[str, Sequence[NDArray]], window: int, rate: float) -> None:
    """Put ``limits`` beside each column.

    Args:
        watched: of each column its values, in every way that they may arrive; NaN where missing.
    """
    limit_M = np.zeros(len(columns) * len(MEASURES))
    for way in range(len(next(iter(watched.values())))):
        finite = {name: watched[name][way][np.isfinite(watched[name][way])] for name in columns}
        apart = min(len(values) for values in finite.values()) // window
        first_S = starts(apart, MOST_STRETCHES)
        distance_SM = np.concatenate(
            [measured(columns[name], _stretches(finite[name], first_S, window), inside=True) for name in columns],
            axis=1,
        )
        limit_M = np.maximum(limit_M, limits(distance_SM, apart, len(columns), rate))
    for name, own in zip(columns, limit_M.reshape(-1, len(MEASURES)), strict=True):
        columns[name]["limits"] = {measure: float(f"{limit:.6g}") for measure, limit in zip(MEASURES, own, strict=True)}


def _stretches(values: NDArray, first_S: NDArray, window: int) -> NDArray:
    """[S, W]: stretches that begin at some shares of the way."""
    at_S = np.round(first_S * (len(values) - window)).astype(np.int64)
    found: NDArray = values[at_S[:, None] + np.arange(window)]
    return found


def _missing_limit(ways: Sequence[NDArray], share: float, window: int) -> float:
    """Over the most that a stretch lacks. Of inputs, which are filled in segments, the table's share is known alone; gaps come
    in clumps, so a window may lack three times as much."""
    most = 3 * share
    for values in ways:
        lacks = np.concatenate([[0], np.cumsum(~np.isfinite(values))])
        most = max(most, float((lacks[window:] - lacks[:-window]).max(initial=0)) / window)
    return float(f"{min(1.0, most + MORE_MISSING):.4g}")


def _described(values: NDArray) -> dict[str, Any]:
    found = drift.reference_column(values)
    assert found is not None, "training has values"
    return found | {"grid": _grid(values)}


def _grid(values: NDArray) -> list[float]:
    """Values of training at evenly spread shares; nine digits name a float32."""
    held = values[np.isfinite(values)].astype(np.float32)
    shares = (np.arange(GRID) + 0.5) / GRID
    return [float(f"{value:.9g}") for value in np.quantile(held, shares, method="inverted_cdf")]


def _ways(segments: Segments, rows: NDArray) -> list[NDArray]:
    """Rows series by series, and step by step where there are several and they share an axis."""
    if len(set(segments.series)) < 2 or segments.label is not None:
        return [rows]
    return [rows, rows[np.argsort(segments.steps(rows), kind="stable")]]


def columns_of(segments: Segments) -> dict[str, NDArray]:
    """Every column's values, float32 [R]; of targets NaN where none was measured."""
    schema = segments.schema
    measured_RC = np.where(segments.observed_RC[:, : len(schema.target)] > 0, segments.target_RC, np.nan)
    found = {name: measured_RC[:, c] for c, name in enumerate(schema.target)}
    for names, values_RF in ((schema.past, segments.past_RP), (schema.known, segments.known_RK)):
        found |= {name: values_RF[:, f] for f, name in enumerate(names)}
    return found
