"""Forecasts of many series from files to a file. To be called in a process of its own, for it starts a cluster."""

from __future__ import annotations

import time
from pathlib import Path

import polars as pl

from lstm_ray.benchmark import untrained
from lstm_ray.on_ray import cluster
from lstm_ray.on_ray.forecast import forecast_files


def ours(policy: str, table: str, out: str) -> dict[str, float]:
    """Seconds of Ray's start, and then of reading, forecasting and writing; and what is wrong with the rows written.

    Args:
        policy: its folder.
        table: folder of Parquet files (``benchmark.tables``).
        out: where the forecasts go.
    """
    begun = time.perf_counter()
    cluster.ensure()
    started = time.perf_counter()
    told = forecast_files(policy, table, out)
    ended = time.perf_counter()
    return {"start": started - begun, "seconds": ended - started, "wrong": wrong(Path(out), told["num_series"])}


def wrong(out: Path, num_series: int) -> int:
    """Series and steps that are not there exactly once, and values that are not finite."""
    rows = pl.scan_parquet(out / "**/*.parquet" if out.is_dir() else out)
    horizon = untrained.config().window.horizon
    counted = rows.group_by("series").agg(pl.len(), pl.col("time").n_unique().alias("times"))
    right = counted.filter((pl.col("len") == horizon) & (pl.col("times") == horizon))
    number = right.select(pl.len()).collect().item()
    infinite = rows.filter(~pl.col("median").is_finite()).select(pl.len()).collect().item()
    return int(num_series - number + infinite)
