"""Figures of a policy over HTTP: under load beside other routes and servers, for long, and while it is swapped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from lstm_ray.benchmark import fresh, loads, untrained
from lstm_ray.benchmark.options import Options
from lstm_ray.benchmark.results import Figure, Results, Sheet

SHARE_OF_NO_OP, MS_OVER_NO_OP, GENERATOR_CORES = 0.6, 3.0, 0.2
GROWTH, DRIFT_OF_P99 = 0.05, 1.25
SOAK_MINUTES, QUICK_SOAK_MINUTES, SOAK_CONNECTIONS = 30.0, 1 / 3, 16


def http(options: Options, policy: Path) -> Results:
    """Forecasts over HTTP beside a route that does nothing and a plain server."""
    seconds, turns = (1.0, 2) if options.quick else (5.0, 5)
    found = fresh.call("lstm_ray.benchmark.loads:in_turns", folder=str(policy), seconds=seconds, turns=turns)

    def of(name: str, connections: int, value: str) -> list[float]:
        return [load[value] for load in found[name] if load["connections"] == connections]

    most, rate, p50 = max(loads.CONNECTIONS), "requests_per_second", "p50_ms"
    forecast, plain = loads.FORECAST, loads.PLAIN
    figures = [
        Figure(
            f"HTTP forecasts / no-op route, {most} connections",
            _ratio(of(forecast, most, rate), of(loads.NO_OP, most, rate)),
            "times",
            SHARE_OF_NO_OP,
        ),
        Figure(
            f"HTTP forecasts / no-op route that reads the same body, {most} connections",
            _ratio(of(forecast, most, rate), of(loads.REFUSED, most, rate)),
            "times",
        ),
        Figure(
            "HTTP forecast, p50 over the no-op route's, 1 connection",
            median(a - b for a, b in zip(of(forecast, 1, p50), of(loads.NO_OP, 1, p50), strict=True)),
            "ms",
            MS_OVER_NO_OP,
            True,
        ),
        Figure(
            f"HTTP forecasts / plain FastAPI, {most} connections",
            _ratio(of(forecast, most, rate), of(plain, most, rate)),
            "times",
        ),
        Figure(
            "HTTP forecast, p50 / plain FastAPI's, 1 connection",
            _ratio(of(forecast, 1, p50), of(plain, 1, p50)),
            "times",
        ),
        Figure(
            "load generator's share of a core, at most",
            max(load["generator_cores"] for asked in found.values() for load in asked),
            "cores",
            GENERATOR_CORES,
            True,
        ),
    ]
    rows = []
    for connections in loads.CONNECTIONS:
        clients = f"{connections} connection{'s' if connections > 1 else ''}"
        figures.append(Figure(f"HTTP forecasts, {clients}", median(of(forecast, connections, rate)), "per second"))
        for quantile in ("p50_ms", "p95_ms", "p99_ms"):
            title = f"HTTP forecast, {quantile.removesuffix('_ms')}, {clients}"
            figures.append(Figure(title, median(of(forecast, connections, quantile)), "ms"))
        for name in found:
            cells = [f"{median(of(name, connections, q)):.2f}" for q in ("p50_ms", "p95_ms", "p99_ms")]
            failed = f"{sum(of(name, connections, 'errors')):.0f}"
            rows.append([name, str(connections), f"{median(of(name, connections, rate)):,.0f}", *cells, failed])
    columns = ["what is asked", "connections", "requests per second", "p50 ms", "p95 ms", "p99 ms", "errors"]
    sheet = Sheet("HTTP on this machine, one replica, the clients beside it, taken in turns", columns, rows)
    return Results(figures, [sheet])


def soak(options: Options, policy: Path) -> Results:
    """Load for long: what fails, and what creeps."""
    minutes = options.soak or (QUICK_SOAK_MINUTES if options.quick else SOAK_MINUTES)
    found = fresh.call(
        "lstm_ray.benchmark.soak:soaked", folder=str(policy), connections=SOAK_CONNECTIONS, seconds=60 * minutes
    )
    pieces: Sequence[dict[str, Any]] = found["pieces"]
    first, last = pieces[0], pieces[-1]
    title = f"{minutes:.3g} minutes at {SOAK_CONNECTIONS} connections"
    growth = last["replica_bytes"] / first["replica_bytes"] - 1
    figures = [
        Figure(f"{title}: failed requests", sum(piece["errors"] for piece in pieces), "", 0, True),
        Figure(f"{title}: growth of the replica's memory after the first piece", growth, "", GROWTH, True),
        Figure(
            f"{title}: p99 of the last third / of the first",
            found["last_p99_ms"] / found["first_p99_ms"],
            "times",
            DRIFT_OF_P99,
            True,
        ),
        Figure(f"{title}: answered requests", sum(piece["requests"] for piece in pieces), ""),
    ]
    rows, ended = [], 0.0
    for piece in pieces:
        ended += piece["seconds"]
        cells = [f"{piece[name]:.1f}" for name in ("p50_ms", "p95_ms", "p99_ms")]
        memory = f"{piece['replica_bytes'] / 2**20:,.0f}"
        rows.append([f"{ended / 60:.1f}", f"{piece['requests_per_second']:,.0f}", *cells, str(piece["errors"]), memory])
    columns = ["minute", "requests per second", "p50 ms", "p95 ms", "p99 ms", "errors", "replica MiB"]
    kinds = sorted({kind for piece in pieces for kind in piece["kinds"]})
    notes = [f"requests of the soak failed with: {', '.join(kinds)}"] if kinds else []
    return Results(figures, [Sheet(f"Soak: {title}", columns, rows)], notes)


def swap(options: Options, policy: Path) -> Results:
    """Another policy put in the served one's place under load."""
    other = policy.parent / "other"
    fresh.call("lstm_ray.benchmark.untrained:save", folder=str(other), seed=untrained.SEED + 1)
    seconds = 15.0 if options.quick else 40.0
    found = fresh.call("lstm_ray.benchmark.swaps:swapped", folder=str(policy), other=str(other), seconds=seconds)
    title = f"a swap of policies under {found['connections']} connections"
    figures = [
        Figure(f"{title}: failed requests", found["errors"], "", 0, True),
        Figure(f"{title}: requests answered meanwhile", found["requests"], ""),
        Figure(f"{title}: seconds until the new one was loaded and warm", found["ready_seconds"], "seconds"),
        Figure(f"{title}: seconds from then until all answers were its", found["swap_seconds"], "seconds"),
    ]
    notes = [f"requests of the swap failed with: {', '.join(found['kinds'])}"] if found["kinds"] else []
    return Results(figures, notes=notes)


def _ratio(ours: Sequence[float], beside: Sequence[float]) -> float:
    return median(a / b for a, b in zip(ours, beside, strict=True))
