"""What the serve suite makes of its measurements, and that what it measures beside answers the same."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
from fastapi import FastAPI

from lstm_ray.benchmark import batches, fresh, in_python, loads, lone, over_http, plain, serve, soak, untrained
from lstm_ray.benchmark.options import Options
from lstm_ray.benchmark.results import Figure
from lstm_ray.errors import InputError
from tests.benchmark.answering import answers


def load(connections: int, per_second: float, p50: float, **more: Any) -> dict[str, Any]:
    told = {"connections": connections, "requests_per_second": per_second, "errors": 0, "generator_cores": 0.1}
    return {**told, "p50_ms": p50, "p95_ms": 2 * p50, "p99_ms": 3 * p50, **more}


def turns(*per_second: float, p50: float) -> list[dict[str, Any]]:
    """Loads at every number of connections, so many turns."""
    return [load(connections, rate, p50) for rate in per_second for connections in loads.CONNECTIONS]


FOUND = {
    loads.FORECAST: turns(700, 1400, p50=2.0),
    loads.NO_OP: turns(1000, 2000, p50=0.5),
    loads.REFUSED: turns(1400, 1400, p50=0.6),
    loads.PLAIN: turns(350, 700, p50=4.0),
}


def named(figures: list[Figure], words: str) -> Figure:
    [found] = [figure for figure in figures if words in figure.name]
    return found


def test_http_is_compared_turn_by_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, FOUND)
    found = over_http.http(Options(quick=True), Path("policy"))
    share = named(found.figures, "/ no-op route, 64")
    assert (share.value, share.target, share.holds) == (0.7, 0.6, True)
    assert named(found.figures, "the same body").value == pytest.approx(0.75)
    over = named(found.figures, "over the no-op")
    assert (over.value, over.target, over.holds) == (1.5, 3.0, True)
    assert named(found.figures, "/ plain FastAPI, 64").value == 2
    assert named(found.figures, "/ plain FastAPI's, 1").value == 0.5
    assert named(found.figures, "HTTP forecasts, 64 connections").value == 1050
    [sheet] = found.sheets
    assert len(sheet.rows) == 12
    assert all(len(row) == len(sheet.columns) for row in sheet.rows)


def test_a_generator_that_takes_too_much_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = {**FOUND, loads.NO_OP: [load(c, 1000, 1.0, generator_cores=0.3) for c in loads.CONNECTIONS * 2]}
    answers(monkeypatch, busy)
    assert named(over_http.http(Options(quick=True), Path("policy")).figures, "generator").holds is False


def test_the_soak_tells_errors_growth_and_drift(monkeypatch: pytest.MonkeyPatch) -> None:
    piece = {**load(16, 900, 10.0), "seconds": 60.0, "requests": 54_000, "kinds": {}}
    pieces = [{**piece, "replica_bytes": 500_000_000 + 2_000_000 * number} for number in range(30)]
    pieces[7] |= {"errors": 2, "kinds": {"503": 2}}
    asked = answers(monkeypatch, {"pieces": pieces, "first_p99_ms": 30.0, "last_p99_ms": 36.0})
    found = over_http.soak(Options(), Path("policy"))
    assert asked[0]["seconds"] == 1800
    failed, growth, drift, answered = found.figures
    assert (failed.value, failed.holds) == (2, False)
    assert growth.value == pytest.approx(0.116)
    assert growth.holds is False
    assert (drift.value, drift.holds) == (1.2, True)
    assert answered.value == 30 * 54_000
    assert len(found.sheets[0].rows) == 30
    assert "503" in found.notes[0]


def test_minutes_of_the_soak_are_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    piece = {**load(16, 900, 10.0), "seconds": 6.0, "requests": 100, "kinds": {}, "replica_bytes": 1}
    asked = answers(monkeypatch, {"pieces": [piece], "first_p99_ms": 1.0, "last_p99_ms": 1.0})
    over_http.soak(Options(quick=True, soak=2), Path("policy"))
    assert asked[0]["seconds"] == 120


def test_batch_stands_beside_whoever_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = {
        "batches:ours": {"start": 3.0, "seconds": 0.5, "wrong": 0},
        "peers:darts": {"seconds": 2.0, "series": 30.0},
    }
    asked = []

    def watched(function: str, *, python: Path | None = None, **arguments: Any) -> tuple[Any, int]:
        name = function.removeprefix("lstm_ray.benchmark.")
        asked.append((name, python, arguments))
        if name not in found:
            raise RuntimeError("it ended with exit code 1")
        return found[name], 2**30

    monkeypatch.setattr(fresh, "watched", watched)
    monkeypatch.setattr(in_python, "QUICK_SERIES", 60)
    monkeypatch.setattr(in_python, "QUICK_PEERS_SERIES", 30)
    results = in_python.batch(Options(quick=True, peers=Path("/elsewhere/python")), tmp_path / "policy")
    assert named(results.figures, "files to file").value == 120
    assert named(results.figures, "exactly one").holds is True
    assert named(results.figures, "darts").value == 8
    assert [name for name, _, _ in asked] == ["batches:ours", "peers:neuralforecast", "peers:darts"]
    assert asked[2][1] == Path("/elsewhere/python")
    assert results.notes == ["neuralforecast on 30 series: it ended with exit code 1"]


def test_rows_that_are_missing_twice_there_or_not_finite_are_counted(tmp_path: Path) -> None:
    rows = [{"series": name, "time": step, "median": 1.0} for name in "abcd" for step in range(24)]
    frame = pl.DataFrame(rows)
    frame.write_parquet(tmp_path / "right.parquet")
    assert batches.wrong(tmp_path / "right.parquet", 4) == 0
    broken = frame.with_columns(
        pl.when(pl.int_range(pl.len()) == 30).then(float("inf")).otherwise("median").alias("median")
    )
    broken = pl.concat([broken[1:], broken[60:61]])
    broken.write_parquet(tmp_path / "wrong.parquet")
    assert batches.wrong(tmp_path / "wrong.parquet", 5) == 4  # a short, b infinite, c twice, e missing


def test_a_swap_without_a_failed_request_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"connections": 16, "errors": 0, "kinds": [], "requests": 900, "ready_seconds": 1.5, "swap_seconds": 0.1}
    answers(monkeypatch, "other", found, "other", found | {"errors": 1, "kinds": ["503"]})
    whole = over_http.swap(Options(), Path("policy"))
    assert [figure.value for figure in whole.figures] == [0, 900, 1.5, 0.1]
    assert whole.figures[0].holds is True
    broken = over_http.swap(Options(), Path("policy"))
    assert broken.figures[0].holds is False
    assert "503" in broken.notes[0]


def test_a_streams_step_is_compared_over_lengths_of_history(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(
        monkeypatch, {lone.OBSERVE: [[1, 1], [1], [1.3]], lone.TOLD: [[1], [1], [1]], lone.STATELESS: [[2], [3], [8]]}
    )
    observed, both, stateless, *_ = in_python.streams(Options(), Path("policy")).figures
    assert (observed.value, observed.holds) == (1.3, False)
    assert both.value == pytest.approx(1.15)
    assert stateless.value == 4


def test_only_parts_of_the_suite_can_be_named() -> None:
    with pytest.raises(InputError, match=r"no config .htp..*.http."):
        serve.serve(Options(only=["htp"]))
    with pytest.raises(InputError, match="--source"):
        serve.serve(Options(source={"http": ["a.csv"]}))


def test_the_plain_server_answers_what_the_policy_predicts() -> None:
    config = untrained.config(history=48, horizon=24, columns=2)
    policy = untrained.policy(config)
    body = untrained.bodies(config)[5]
    answer = _post(plain.app(policy), json.loads(body))
    expected = policy.predict([untrained.series(config, 5)])[0]
    told = answer["forecasts"][0]
    for quantile, values_H in zip(policy.quantiles, expected.values_HCQ[:, 0].T, strict=True):
        np.testing.assert_allclose(told["targets"]["value"][str(quantile)], values_H, rtol=1e-5)
    assert told["times"] == [f"{time}Z" for time in expected.times.astype("datetime64[s]").astype(str)]


def test_a_lone_request_is_timed_as_often_as_asked() -> None:
    window = {"history": 48, "horizon": 24, "columns": 1}
    [times] = lone.predict_ms([window], lone.WARM_UP + 3)
    assert len(times) == 3
    assert min(times) > 0


def test_a_streams_steps_are_timed_beside_the_whole_history() -> None:
    found = lone.stream_ms([24, 48], lone.WARM_UP + 2)
    assert {name: [len(times) for times in of] for name, of in found.items()} == {name: [2, 2] for name in found}
    assert len(found) == 3


def test_without_replicas_no_memory_is_found() -> None:
    assert soak.replica_bytes() == 0


def _post(app: FastAPI, body: dict[str, Any]) -> Any:
    async def ask() -> Any:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            return (await client.post("/forecast", json=body)).json()

    return asyncio.run(ask())
