"""The newest values of one column, held against training and its limits. NumPy; knows no rows, no requests and no clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lstm_ray.monitor.drift.distances import MEASURES, measured

MISSING = "missing_share"
ENDS = 0.9
"""Share of its limit that every measure must fall below before an alarm ends, so that none flickers."""
Kind = Literal["drift", "joint", "prediction"]
WORDS = {
    "psi": "has a PSI of {value} against training",
    "ks": "lies a KS distance of {value} from training",
    "wasserstein_deviations": "lies {value} training deviations (Wasserstein) from training",
    MISSING: "is missing in {value} of the newest steps",
}


class Column:
    """One column under watch.

    Args:
        given: its part of a reference, with ``grid`` and ``limits``.
        window: newest values that are held against training, and newest steps that the missing ones are counted in.
    """

    def __init__(self, name: str, kind: Kind, given: Mapping[str, Any], window: int) -> None:
        self.name, self.kind, self.window = name, kind, window
        self.given = {**given, **{part: np.asarray(given[part], np.float32) for part in ("edges", "grid")}}
        self.limits: dict[str, float] = given["limits"]
        self.alarm = False
        self._values, self._there = np.empty(0, np.float32), np.empty(0, bool)
        self._found: dict[str, float] = {}

    def add(self, values: NDArray) -> None:
        """Take in newer values, NaN where missing, and judge the window that they make."""
        there = np.isfinite(values)
        self._values = np.concatenate([self._values, values[there].astype(np.float32)])[-self.window :]
        self._there = np.concatenate([self._there, there])[-self.window :]
        if len(self._values) == self.window:
            self._found = dict(zip(MEASURES, measured(self.given, self._values[None])[0].tolist(), strict=True))
        if len(self._there) == self.window and MISSING in self.limits:
            self._found[MISSING] = self.missing
        if self._found:
            self.alarm = self.worst[1] > (ENDS if self.alarm else 1.0)

    @property
    def missing(self) -> float:
        return float(1 - self._there.mean()) if len(self._there) else 0.0

    @property
    def judged(self) -> bool:
        return bool(self._found)

    @property
    def worst(self) -> tuple[str, float]:
        """The measure that lies highest over its limit, and how many times that is."""
        shares = {name: value / self.limits[name] for name, value in self._found.items()}
        name = max(shares, key=lambda name: shares[name])
        return name, shares[name]

    def row(self) -> dict[str, Any]:
        """For the summary; what cannot be told is None."""
        told = {name: _rounded(self._found.get(name)) for name in MEASURES}
        return {
            "column": self.name,
            "kind": self.kind,
            **told,
            "limits": {name: _rounded(limit) for name, limit in self.limits.items()},
            "over_limit": _rounded(self.worst[1]) if self.judged else None,
            "measure": self.worst[0] if self.judged else None,
            "state": "too little data" if not self.judged else "shifted" if self.alarm else "stable",
            "values": len(self._values),
            "missing_share": round(self.missing, 4),
            "mean": float(self._values.mean(dtype=np.float64)) if len(self._values) else None,
            "training_mean": self.given["mean"],
        }

    def told(self) -> dict[str, Any]:
        """Its alarm."""
        measure, _ = self.worst
        value, limit = self._found[measure], self.limits[measure]
        share = measure == MISSING
        number = f"{value:.0%}" if share else f"{value:.3g}"
        what = {"drift": self.name, "joint": "how columns go together", "prediction": f"the forecast of {self.name}"}
        text = f"{what[self.kind]} {WORDS[measure].format(value=number)} in its newest {self.window} values; "
        usual = (
            "a share that training does not come near" if share else "which windows of data like training's rarely pass"
        )
        text += f"the limit is {f'{limit:.0%}' if share else f'{limit:.3g}'}, {usual}"
        return {"kind": self.kind, "what": self.name, "measure": measure, "value": value, "limit": limit, "text": text}


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
