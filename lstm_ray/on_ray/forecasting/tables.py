"""Answers as tables: a row for each series, step and target, for each sequence, or for each step that is labelled.

Shapes: S series, H horizon, C targets, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lstm_ray.data.timeline.grid import SERIES, TIME
from lstm_ray.model.policy import Classification, Labelling, Policy

WARNINGS = "warnings"


def schema_of(policy: Policy) -> pa.Schema:
    """The columns that are written."""
    task = policy.config.task
    if policy.schema.classes:
        values = ["class", *(f"probability {name}" for name in policy.schema.classes)]
    elif task == "label":
        values = ["value"]
    else:
        values = ["median", *(f"q{q:g}" for q in policy.quantiles if q != 0.5)]
    kinds = [(name, pa.string() if name == "class" else pa.float64()) for name in values]
    time = pa.timestamp("us") if policy.schema.has_dates else pa.int64()
    key = {"forecast": [(TIME, time), ("target", pa.string())], "classify": [], "label": [(TIME, time)]}[task]
    return pa.schema([(SERIES, pa.string()), *key, *kinds, (WARNINGS, pa.string())])


def forecasts(
    policy: Policy, names: Sequence[str], last_S: NDArray, values_SHCQ: NDArray, warnings: Sequence[list[str]]
) -> pa.Table:
    """Forecasts of series that each end at a tick."""
    schema, own = policy.schema, policy.quantiles
    series, horizon, channels = values_SHCQ.shape[:3]
    of = np.repeat(np.arange(series), horizon * channels)
    ticks = last_S[:, None] + schema.step * np.arange(1, horizon + 1)
    values_RQ = values_SHCQ.reshape(-1, len(own)).astype(np.float64)
    columns: dict[str, Any] = {
        SERIES: pa.array(names, pa.string()).take(of),
        TIME: schema.of_ticks(np.repeat(ticks.ravel(), channels)),
        "target": pa.array(schema.target, pa.string()).take(np.tile(np.arange(channels), series * horizon)),
        "median": values_RQ[:, own.index(0.5)],
    }
    columns |= {f"q{q:g}": np.ascontiguousarray(values_RQ[:, i]) for i, q in enumerate(own) if q != 0.5}
    columns[WARNINGS] = _joined(warnings).take(of)
    return pa.table(columns, schema=schema_of(policy))


def classified(policy: Policy, found: Sequence[Classification]) -> pa.Table:
    """A row for each sequence."""
    classes = policy.schema.classes
    probabilities_SK = np.stack([one.probabilities for one in found]).astype(np.float64)
    return pa.table(
        {
            SERIES: [one.name for one in found],
            "class": pa.array(classes, pa.string()).take(probabilities_SK.argmax(axis=1)),
            **{f"probability {name}": probabilities_SK[:, k].copy() for k, name in enumerate(classes)},
            WARNINGS: _joined([one.warnings for one in found]),
        },
        schema=schema_of(policy),
    )


def labelled(policy: Policy, found: Sequence[Labelling]) -> pa.Table:
    """A row for each step."""
    classes = policy.schema.classes
    of = np.repeat(np.arange(len(found)), [len(one.times) for one in found])
    answer_RA = np.concatenate([one.answer_LA for one in found]).astype(np.float64)
    told: dict[str, Any] = {"value": answer_RA[:, 0].copy()}
    if classes:
        told = {"class": pa.array(classes, pa.string()).take(answer_RA.argmax(axis=1))}
        told |= {f"probability {name}": answer_RA[:, k].copy() for k, name in enumerate(classes)}
    return pa.table(
        {
            SERIES: pa.array([one.name for one in found], pa.string()).take(of),
            TIME: np.concatenate([one.times for one in found]),
            **told,
            WARNINGS: _joined([one.warnings for one in found]).take(of),
        },
        schema=schema_of(policy),
    )


def _joined(warnings: Sequence[list[str]]) -> pa.Array:
    return pa.array(["; ".join(words) for words in warnings], pa.string())
