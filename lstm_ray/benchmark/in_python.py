"""Figures of a policy in Python: one request, one step of a stream, and many series from files to a file beside others."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np

from lstm_ray.benchmark import fresh, lone, tables
from lstm_ray.benchmark.options import Options
from lstm_ray.benchmark.results import Figure, Results, Sheet, say

PREDICT_MS = 3.0
HISTORIES, MOST_OVER = (48, 336, 960), 1.2
SERIES, QUICK_SERIES, PEERS_SERIES, QUICK_PEERS_SERIES = 100_000, 5_000, 10_000, 500
PEERS = ("neuralforecast", "darts")
WINDOWS = {
    "1 series of 336 hours, 24 ahead": {"history": 336, "horizon": 24, "columns": 1},
    "7 columns of 336 hours, 96 ahead": {"history": 336, "horizon": 96, "columns": 7},
}


def python(options: Options, policy: Path) -> Results:
    """One request in Python."""
    del policy
    repeats = 200 if options.quick else 1_000
    found = fresh.call("lstm_ray.benchmark.lone:predict_ms", windows=list(WINDOWS.values()), repeats=repeats)
    figures = [
        Figure(f"policy.predict, one request, p50: {name}", median(times), "ms", PREDICT_MS, True)
        for name, times in zip(WINDOWS, found, strict=True)
    ]
    rows = [
        [name, *(f"{np.quantile(times, share):.2f}" for share in (0.5, 0.95, 0.99))]
        for name, times in zip(WINDOWS, found, strict=True)
    ]
    return Results(
        figures, [Sheet("policy.predict([series]), one thread", ["what is asked", "p50 ms", "p95 ms", "p99 ms"], rows)]
    )


def batch(options: Options, policy: Path) -> Results:
    """Many series from Parquet to Parquet, and others' predict beside it."""
    number = QUICK_SERIES if options.quick else SERIES
    history, horizon = (WINDOWS[next(iter(WINDOWS))][name] for name in ("history", "horizon"))
    folder, results, rows = policy.parent, Results(), []
    table = folder / "table"
    tables.write(table, number, history, "series")
    found, peak = fresh.watched(
        "lstm_ray.benchmark.batches:ours", policy=str(policy), table=str(table), out=str(folder / "forecasts.parquet")
    )
    shutil.rmtree(table)
    ours = number / found["seconds"]
    title = f"{number:,} series of {history} steps"
    rows.append(["lstm-ray", f"{number:,}", f"{found['seconds']:.1f}", f"{ours:,.0f}", f"{peak / 2**30:.2f}"])
    results.figures.extend(
        [
            Figure(f"batch, {title}, files to file", ours, "series per second"),
            Figure(f"batch, {title}: most memory of any process", peak / 2**30, "GiB"),
            Figure(f"batch, {title}: series without exactly one finite row for each step", found["wrong"], "", 0, True),
            Figure(f"batch, {title}: Ray's start, before it", found["start"], "seconds"),
        ]
    )
    number = QUICK_PEERS_SERIES if options.quick else PEERS_SERIES
    tables.write(table, number, history, "series")
    for peer in PEERS:
        if options.peers is None and not find_spec(peer):
            results.notes.append(f"{peer} is not installed here (--peers PYTHON names a Python that has it); left out.")
            continue
        say(f"serve: batch, {peer}")
        given = {"table": str(table), "out": str(folder / f"{peer}.parquet"), "history": history, "horizon": horizon}
        try:
            found, peak = fresh.watched(f"lstm_ray.benchmark.peers:{peer}", python=options.peers, **given)
        except RuntimeError as error:
            results.notes.append(f"{peer} on {number:,} series: {error}")
            continue
        theirs = found["series"] / found["seconds"]
        rows.append([peer, f"{number:,}", f"{found['seconds']:.1f}", f"{theirs:,.0f}", f"{peak / 2**30:.2f}"])
        results.figures.append(
            Figure(f"batch, series per second / {peer}'s predict on {number:,} of them", ours / theirs, "times")
        )
    columns = ["who", "series", "seconds", "series per second", "most GiB of a process"]
    results.sheets.append(Sheet(f"Batch, {history} steps of history, {horizon} ahead, files to file", columns, rows))
    return results


def streams(options: Options, policy: Path) -> Results:
    """What a step costs a stream whose state is kept, however long the history is."""
    del policy
    repeats = 150 if options.quick else 1_000
    found = fresh.call("lstm_ray.benchmark.lone:stream_ms", histories=list(HISTORIES), repeats=repeats)
    shortest, longest = HISTORIES[0], HISTORIES[-1]
    p50 = {name: [median(times) for times in of] for name, of in found.items()}
    kept = [a + b for a, b in zip(p50[lone.OBSERVE], p50[lone.TOLD], strict=True)]
    beside = f"history {longest} / history {shortest}"
    figures = [
        Figure(f"an observation of a stream, p50: {beside}", _over(p50[lone.OBSERVE]), "times", MOST_OVER, True),
        Figure(f"observation and forecast of a stream, p50: {beside}", _over(kept), "times"),
        Figure(f"a forecast that reads the history again, p50: {beside}", _over(p50[lone.STATELESS]), "times"),
        *(
            Figure(f"an observation of a stream, p50, history {history}", value, "ms")
            for history, value in zip(HISTORIES, p50[lone.OBSERVE], strict=True)
        ),
    ]
    rows = [[name, *(f"{value:.2f}" for value in values)] for name, values in p50.items()]
    columns = ["p50 ms", *(f"history {history}" for history in HISTORIES)]
    return Results(figures, [Sheet("A stream's step in Python, one thread", columns, rows)])


def _over(values: list[float]) -> float:
    return values[-1] / values[0]
