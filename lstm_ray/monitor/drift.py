"""How far the inputs of requests have moved from the training part. Knows columns and counts; knows no models.

A reference is cut from the training part once and travels with the policy as plain numbers; requests are then counted
into its bins. Counts add over requests and replicas, so memory does not grow with traffic.
Shapes: T steps, F columns, K bins of a column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lstm_ray.data.parts import Boundaries
from lstm_ray.data.steps import rows_in
from lstm_ray.data.windows import Segments

BINS = 10
MODERATE, SHIFTED = 0.1, 0.25
"""PSI below the first is stable, above the second shifted: the customary limits (Siddiqi 2006)."""
ENOUGH = 500
"""Values a column needs before it is judged; fewer scatter over the bins by chance."""
HALF_LIFE = 50_000
"""Values of a column after which a count weighs half, so that an old shift is forgotten and a new one seen."""
SMALLEST = 1e-4
"""Share given to an empty bin: the logarithm of nothing would hide every other bin."""


def reference(segments: Segments, bounds: Boundaries) -> dict[str, Any]:
    """What the training part's inputs look like, as plain numbers for a policy's ``facts["reference"]``.

    Args:
        segments: imputed and unscaled; of targets only measured values count.

    Returns:
        ``{"columns": {name: {"edges", "shares", "count", "mean", "deviation"}}}``. A value x is in bin k where
        ``edges[k - 1] < x <= edges[k]``. Columns without a value are left out.
    """
    schema = segments.schema
    train = rows_in(segments, bounds, "train")
    columns = {}
    for index, name in enumerate(schema.target):
        measured = train & (segments.observed_RC[:, index] > 0)
        columns[name] = _reference_column(segments.target_RC[measured, index])
    for names, values_RF in ((schema.past, segments.past_RP), (schema.known, segments.known_RK)):
        for index, name in enumerate(names):
            columns[name] = _reference_column(values_RF[train, index])
    return {"columns": {name: column for name, column in columns.items() if column is not None}}


def _reference_column(values_T: NDArray) -> dict[str, Any] | None:
    values = values_T[np.isfinite(values_T)].astype(np.float32)
    if not len(values):
        return None
    inner = np.quantile(values, np.arange(1, BINS) / BINS, method="lower").astype(np.float32)
    edges, times = np.unique(inner, return_counts=True)
    # A value that fills several bins, such as 0 in rainfall, gets a bin of its own: one edge at it, one just below.
    edges = np.unique(np.concatenate([edges, np.nextafter(edges[times > 1], np.float32(-np.inf))]))
    shares = np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1) / len(values)
    return {
        "edges": edges.astype(np.float64).tolist(),
        "shares": shares.tolist(),
        "count": len(values),
        "mean": float(values.mean(dtype=np.float64)),
        "deviation": float(values.std(dtype=np.float64)),
    }


@dataclass
class ColumnCounts:
    """Values of one column in requests: sums that add."""

    bins_K: NDArray
    missing: float = 0.0
    total: float = 0.0
    sum: float = 0.0

    def __add__(self, other: ColumnCounts) -> ColumnCounts:
        return ColumnCounts(
            self.bins_K + other.bins_K, self.missing + other.missing, self.total + other.total, self.sum + other.sum
        )


Counts = dict[str, ColumnCounts]
"""By column."""


def add(first: Counts, second: Counts) -> Counts:
    """The counts of both."""
    return {
        name: first[name] + second[name] if name in first and name in second else (first.get(name) or second[name])
        for name in {**first, **second}
    }


def count(series: Sequence[Mapping[str, ArrayLike]], reference: Mapping[str, Any], newest: int) -> Counts:
    """Count the newest steps of each series' columns into the reference's bins. ``None`` and NaN are missing values."""
    counts: Counts = {}
    for name, given in reference.get("columns", {}).items():
        sent = [np.asarray(columns[name], dtype=np.float32)[-newest:] for columns in series if name in columns]
        if not sent:
            continue
        values = np.concatenate(sent)
        found = values[np.isfinite(values)]
        edges = np.asarray(given["edges"], dtype=np.float32)
        bins = np.bincount(np.searchsorted(edges, found), minlength=len(edges) + 1).astype(np.float64)
        total = float(found.sum(dtype=np.float64))
        counts[name] = ColumnCounts(bins, len(values) - len(found), len(values), total)
    return counts


def psi(expected_K: Sequence[float], found_K: NDArray) -> float:
    """Population stability index of counts against expected shares: 0 where they agree."""
    expected = np.maximum(expected_K, SMALLEST)
    found = np.maximum(found_K / max(found_K.sum(), 1), SMALLEST)
    return float(((found - expected) * np.log(found / expected)).sum())


class Drift:
    """Running comparison of requests with the training part.

    Args:
        reference: what ``reference`` returned; empty where the policy carries none.
    """

    def __init__(self, reference: Mapping[str, Any]) -> None:
        self.reference = reference
        self._counts: Counts = {}

    def fold(self, counts: Counts) -> None:
        """Take in what requests brought; what came before fades."""
        for name, new in counts.items():
            old = self._counts.get(name)
            if old is None:
                self._counts[name] = new
                continue
            fade = 0.5 ** (new.total / HALF_LIFE)
            faded = ColumnCounts(old.bins_K * fade, old.missing * fade, old.total * fade, old.sum * fade)
            self._counts[name] = faded + new

    def rows(self) -> list[dict[str, Any]]:
        """Every column with its PSI and state, the most shifted first."""
        rows = [self._row(name, given) for name, given in self.reference.get("columns", {}).items()]
        return sorted(rows, key=lambda row: -(row["psi"] or 0.0))

    def _row(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        counts = self._counts.get(name)
        values = counts.bins_K.sum() if counts else 0.0
        judged = counts is not None and values >= ENOUGH
        index = psi(given["shares"], counts.bins_K) if counts and judged else None
        return {
            "column": name,
            "psi": None if index is None else round(index, 4),
            "state": state(index),
            "values": round(counts.total) if counts else 0,
            "missing_share": round(counts.missing / counts.total, 4) if counts and counts.total else 0.0,
            "mean": float(counts.sum / values) if counts and values else None,
            "training_mean": given["mean"],
        }


def state(index: float | None) -> str:
    """A PSI in words."""
    if index is None:
        return "too little data"
    return "stable" if index < MODERATE else "moderate shift" if index <= SHIFTED else "shifted"
