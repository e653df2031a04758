"""How far live inputs and predictions have moved from the training part. Knows columns, rows and counts; knows no models.

A reference is cut from the training part once and travels with the policy as plain numbers. Steps of named series, each of
which counts once, fill windows of the newest values that are held against it, column by column and jointly (``column``,
``joint``); anonymous requests, which may repeat each other, are counted into its bins alone, and raise no alarm. Counts add
over requests and replicas; memory does not grow with traffic.
Shapes: T steps, F columns, K bins of a column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lstm_ray.data.parts import Boundaries
from lstm_ray.data.steps import rows_in
from lstm_ray.data.windows import Segments
from lstm_ray.monitor.drift.column import Column
from lstm_ray.monitor.drift.distances import binned, psi
from lstm_ray.monitor.drift.fresh import Fresh
from lstm_ray.monitor.drift.joint import TOGETHER, scores

if TYPE_CHECKING:
    from lstm_ray.monitor.traffic import Answer, Rows

BINS = 10
MODERATE, SHIFTED = 0.1, 0.25
"""PSI below the first is stable, above the second shifted: the customary limits (Siddiqi 2006)."""
ENOUGH = 500
"""Values a column needs before it is judged; fewer scatter over the bins by chance."""
HALF_LIFE = 50_000
"""Values of a column after which a count weighs half, so that an old shift is forgotten and a new one seen."""
JUDGED = 2
"""Times that windows are judged while they pass once, though nobody asks: judging a column takes about 0.2 ms."""


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
        columns[name] = reference_column(segments.target_RC[measured, index])
    for names, values_RF in ((schema.past, segments.past_RP), (schema.known, segments.known_RK)):
        for index, name in enumerate(names):
            columns[name] = reference_column(values_RF[train, index])
    return {"columns": {name: column for name, column in columns.items() if column is not None}}


def reference_column(values_T: NDArray) -> dict[str, Any] | None:
    """One column of a reference; None where it holds no finite value."""
    values = values_T[np.isfinite(values_T)].astype(np.float32)
    if not len(values):
        return None
    inner = np.quantile(values, np.arange(1, BINS) / BINS, method="lower").astype(np.float32)
    edges, times = np.unique(inner, return_counts=True)
    # A value that fills several bins, such as 0 in rainfall, gets a bin of its own: one edge at it, one just below.
    edges = np.unique(np.concatenate([edges, np.nextafter(edges[times > 1], np.float32(-np.inf))]))
    shares = binned(edges, values) / len(values)
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
        total = float(found.sum(dtype=np.float64))
        counts[name] = ColumnCounts(binned(given["edges"], found), len(values) - len(found), len(values), total)
    return counts


class Drift:
    """Running comparison of what is sent and answered with the training part.

    Args:
        reference: what ``reference.full`` returned, or ``reference``; empty where the policy carries none.
        columns: of rows.
        targets: of answers.
        step: of a series, in ticks; 0 where answers have no time.
    """

    def __init__(
        self, reference: Mapping[str, Any], columns: Sequence[str] = (), targets: Sequence[str] = (), step: int = 0
    ) -> None:
        self.reference = reference
        self._counts: Counts = {}
        self._window = int(reference.get("window", ENOUGH))
        self._fresh = Fresh(step)
        inputs = reference.get("columns", {})
        self._inputs = [
            (f, Column(name, "drift", inputs[name], self._window))
            for f, name in enumerate(columns)
            if "limits" in inputs.get(name, {})
        ]
        self._joint, self._joint_at = self._together(columns)
        told = reference.get("predictions", {})
        self._predictions = [
            (c, Column(name, "prediction", told[name], self._window)) for c, name in enumerate(targets) if name in told
        ]
        # What came since columns were judged.
        self._new_rows: list[NDArray] = []
        self._new_answers: list[NDArray] = []

    def _together(self, columns: Sequence[str]) -> tuple[Column | None, list[int]]:
        given = self.reference.get("joint")
        if given is None or not set(given["columns"]) <= set(columns):
            return None, []
        at = [list(columns).index(name) for name in given["columns"]]
        return Column(TOGETHER, "joint", given["column"], self._window), at

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

    def take(self, rows: Rows) -> None:
        """Take in steps of a named series that have not come before."""
        if self._inputs and len(rows.tick_T):
            self._new_rows.append(rows.values_TF[np.argsort(rows.tick_T, kind="stable")])
            self._judge(self._window // JUDGED)

    def answered(self, answers: Sequence[Answer]) -> None:
        """Take in what was predicted for named series."""
        if self._predictions:
            self._new_answers += [fresh for answer in answers if len(fresh := self._fresh.of(answer))]
            self._judge(self._window // JUDGED)

    def _judge(self, least: int) -> None:
        if self._new_rows and sum(map(len, self._new_rows)) >= least:
            values_TF, self._new_rows = np.concatenate(self._new_rows), []
            for f, column in self._inputs:
                column.add(values_TF[:, f])
            if self._joint is not None:
                self._joint.add(scores(self.reference["joint"], values_TF[:, self._joint_at]))
        if self._new_answers and sum(map(len, self._new_answers)) >= least:
            median_TC, self._new_answers = np.concatenate(self._new_answers), []
            for c, column in self._predictions:
                column.add(median_TC[:, c])

    def _columns(self) -> list[Column]:
        joint = [self._joint] if self._joint is not None else []
        return [column for _, column in self._inputs] + joint

    def rows(self) -> list[dict[str, Any]]:
        """Every input, and all of them jointly, with its distances and state, the most shifted first.

        Of a column that named series have not filled a window of, PSI and state are those of requests of any kind.
        """
        self._judge(1)
        judged = {column.name: column.row() for column in self._columns() if column.judged}
        rows = [judged.get(name) or self._row(name, given) for name, given in self.reference.get("columns", {}).items()]
        rows += [column.row() for column in self._columns() if column is self._joint]
        return sorted(rows, key=lambda row: (-(row["over_limit"] or 0.0), -(row["psi"] or 0.0)))

    def predictions(self) -> list[dict[str, Any]]:
        """Every target's forecasts, likewise."""
        self._judge(1)
        return [column.row() for _, column in self._predictions]

    def alarms(self) -> list[dict[str, Any]]:
        """What has moved beyond its limit: ``kind``, ``what``, ``measure``, ``value``, ``limit``, ``text``."""
        self._judge(1)
        watched = [*self._columns(), *(column for _, column in self._predictions)]
        return [column.told() for column in watched if column.alarm]

    def words(self) -> str:
        """What the reference lacks; empty where it lacks nothing."""
        if not self.reference:
            return "the policy carries no reference to compare with"
        if text := self.reference.get("no_limits"):
            return f"no limits: {text}; PSI is judged by the customary ones, and drift raises no alarm"
        if "window" not in self.reference:
            return (
                "the policy was bundled without limits: PSI is judged by the customary ones, and drift raises no alarm; "
                "deploy it anew"
            )
        return ""

    def _row(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        counts = self._counts.get(name)
        values = counts.bins_K.sum() if counts else 0.0
        judged = counts is not None and values >= ENOUGH
        index = psi(given["shares"], counts.bins_K) if counts and judged else None
        return {
            "column": name,
            "kind": "drift",
            "psi": None if index is None else round(index, 4),
            "ks": None,
            "wasserstein_deviations": None,
            "limits": None,
            "over_limit": None,
            "measure": None if index is None else "psi",
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
