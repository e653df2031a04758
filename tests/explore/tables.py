"""Small tables with known answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lstm_ray.explore.analysis import Analysis, Clock

START = datetime(2024, 1, 1)
HOUR = Clock(3_600_000_000, True)
STEP = Clock(1, False)


def hourly(columns: Mapping[str, NDArray], series: str = "a", start: datetime = START) -> pl.DataFrame:
    """One series on an hourly grid; NaN becomes missing."""
    size = len(next(iter(columns.values())))
    times = pl.Series([start + timedelta(hours=i) for i in range(size)], dtype=pl.Datetime("us"))
    values = {name: pl.Series(np.asarray(found, dtype=np.float64)).fill_nan(None) for name, found in columns.items()}
    return pl.DataFrame({"series": [series] * size, "time": times, **values})


def stepped(columns: Mapping[str, NDArray], series: str = "a") -> pl.DataFrame:
    """One series at integer steps."""
    frame = hourly(columns, series)
    return frame.with_columns(time=pl.int_range(frame.height, dtype=pl.Int64))


def noise(size: int, seed: int = 0) -> NDArray:
    """White noise of mean 0 and deviation 1."""
    return np.random.default_rng(seed).normal(size=size)


def daily_wave(size: int, spread: float = 0.1, seed: int = 0) -> NDArray:
    """A sine of 24 steps with white noise."""
    return np.sin(2 * np.pi * np.arange(size) / 24) + spread * noise(size, seed)


def labelled(num=120, gap=4.0, late_share=0.25, shift=False):
    """Sequences of a day; 'x' is ``gap`` higher in class 'late', 'noise' says nothing."""
    rng, frames = np.random.default_rng(9), []
    for i in range(num):
        late = (i > 0.7 * num) if shift else (i % round(1 / late_share) == 0)
        columns = {"x": rng.normal(size=24) + gap * late, "noise": rng.normal(size=24)}
        frame = hourly(columns, f"{i:03d}", START + timedelta(days=i))
        frames.append(frame.with_columns(label=pl.lit("late" if late else "on time")))
    return pl.concat(frames)


def said(analysis: Analysis, severity: str = "") -> str:
    """All that was said, one finding a line."""
    found = [f for f in analysis.findings if not severity or f.severity == severity]
    return "\n".join(f"{finding.text} {finding.advice}".strip() for finding in found)
