"""The suite ``data``: tables that are generated, from their files to the first batch, at growing sizes.

Every measurement runs in a fresh process, whose memory and that of all processes it starts is watched.
"""

from __future__ import annotations

import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np

from lstm_ray.benchmark import fresh, tables
from lstm_ray.benchmark.options import Options
from lstm_ray.benchmark.results import Figure, Results, Sheet, say

Order = Literal["series", "time"]
SHAPES: dict[str, tuple[Order, int]] = {"many short series": ("time", 100), "few long series": ("series", 100)}
"""By name: how files are ordered, and the number that stays the same: steps of a series, or series."""
SIZES = (1_000_000, 3_000_000, 10_000_000, 30_000_000, 100_000_000)
QUICK_SIZES = (100_000, 1_000_000)
FITS = 10_000_000
"""Rows of the table that bare Polars and neuralforecast read too."""
SHARE_OF_BARE, MOST_GIB, SLOPE_OFF = 0.7, 3.0, 0.15
HERE = "lstm_ray.benchmark.preparing"


def data(options: Options) -> Results:
    """Run both shapes at every size, then the others on one that fits."""
    options.refuse_unknown(())
    sizes = QUICK_SIZES if options.quick else SIZES
    results = Results(seeds=[tables.SEED])
    if not find_spec("neuralforecast"):
        results.notes.append("neuralforecast is not installed here (pip install 'lstm-ray[peers]'); left out.")
    with tempfile.TemporaryDirectory(prefix="lstm-ray-benchmark-", dir=options.data) as folder:
        for shape in SHAPES:
            results.add(_curve(shape, sizes, Path(folder), options.quick))
            results.add(_beside(shape, min(FITS, sizes[-1]), Path(folder)))
    return results


def _curve(shape: str, sizes: tuple[int, ...], folder: Path, quick: bool) -> Results:
    results, rows, seconds = Results(), [], []
    for size in sizes:
        table = _generated(shape, size, folder)
        say(f"data: {shape}, {size:,} rows")
        found, peak = fresh.watched(f"{HERE}:ours", folder=str(table), out=str(folder / "run"))
        total = sum(found.values())
        seconds.append(total)
        rate, gib = size / found["preprocess"], peak / 2**30
        rows.append([f"{size:,}", *(f"{found[name]:.1f}" for name in found), f"{rate:,.0f}", f"{gib:.2f}"])
        shutil.rmtree(table)
        shutil.rmtree(folder / "run")
    title = f"{shape}, {_words(shape, sizes[-1])}"
    slope = float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
    results.figures.extend(
        [
            Figure(f"{title}: rows per second, files to first batch", sizes[-1] / seconds[-1], "rows per second"),
            Figure(f"{title}: most memory of any process", gib, "GiB", MOST_GIB, at_most=True),
            Figure(f"{title}: seconds to first batch", seconds[-1], "seconds"),
            Figure(f"{shape}: slope of seconds over rows, both logarithms", slope, ""),
            # Small tables cost little but the start.
            Figure(f"{shape}: slope's distance from 1", abs(slope - 1), "", None if quick else SLOPE_OFF, at_most=True),
        ]
    )
    columns = [
        "rows",
        "preprocess s",
        "split s",
        "first batch s",
        "rows per second, preprocess",
        "most GiB of a process",
    ]
    results.sheets.append(Sheet(f"From files to the first batch: {shape}", columns, rows))
    return results


def _beside(shape: str, size: int, folder: Path) -> Results:
    """Ours, bare Polars and neuralforecast on the same table."""
    results, rows = Results(), []
    table = _generated(shape, size, folder)
    peers = ["ours", "bare_polars", *(["neuralforecast"] if find_spec("neuralforecast") else [])]
    found = {}
    for peer in peers:
        say(f"data: {shape}, {size:,} rows, {peer}")
        try:
            found[peer], peak = fresh.watched(f"{HERE}:{peer}", folder=str(table), out=str(folder / peer))
        except RuntimeError as error:
            results.notes.append(f"{peer} on {size:,} rows of {shape}: {error}")
            continue
        parts = [f"{found[peer][name]:.1f}" if name in found[peer] else "" for name in ("preprocess", "first_batch")]
        rows.append([peer.replace("_", " "), *parts, f"{sum(found[peer].values()):.1f}", f"{peak / 2**30:.2f}"])
        shutil.rmtree(folder / peer, ignore_errors=True)
    shutil.rmtree(table)
    title = f"{shape}, {_words(shape, size)}"
    share = found["bare_polars"]["preprocess"] / found["ours"]["preprocess"]
    results.figures.append(Figure(f"{title}: rows per second / bare Polars", share, "times", SHARE_OF_BARE))
    if "neuralforecast" in found:
        times = sum(found["neuralforecast"].values()) / sum(found["ours"].values())
        results.figures.append(Figure(f"{title}: neuralforecast's seconds to first batch / ours", times, "times"))
    columns = ["who", "preprocess s", "then first batch s", "all s", "most GiB of a process"]
    results.sheets.append(Sheet(f"Beside others: {title}", columns, rows))
    return results


def _generated(shape: str, size: int, folder: Path) -> Path:
    order, fixed = SHAPES[shape]
    other = size // fixed
    num_series, num_steps = (other, fixed) if order == "time" else (fixed, other)
    tables.write(folder / "table", num_series, num_steps, order)
    return folder / "table"


def _words(shape: str, size: int) -> str:
    order, fixed = SHAPES[shape]
    num_series, num_steps = (size // fixed, fixed) if order == "time" else (fixed, size // fixed)
    return f"{num_series:,} series of {num_steps:,} steps"
