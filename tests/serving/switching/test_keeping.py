"""A register keeps the rows that requests and observations bring, for all its policies, and tells what came of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstm_ray.live import rows
from lstm_ray.live.table import frame
from lstm_ray.monitor.traffic import Rows, Tally
from lstm_ray.monitor.watched import Watched
from lstm_ray.sections.operate import MonitorConfig
from lstm_ray.serving.service import watched
from lstm_ray.serving.switching.register import Register
from tests.serving import services as serving
from tests.serving.switching.test_register import begun, run

STEP = serving.forecaster().schema.step


def told(name: str, first: int, number: int, value: float = 1.0) -> Rows:
    return Rows(name, STEP * np.arange(first, first + number), np.full((number, 3), value))


async def watching(folder: Path, of: Any = None, **settings: Any) -> tuple[Register, Watched]:
    register = begun(folder)
    own = watched(of or serving.forecaster())
    own = replace(own, version=register._account.lineup.champion, settings=MonitorConfig(**settings))
    await register.watch(own)
    return register, own


def test_what_requests_and_observations_bring_is_kept_once_and_told(tmp_path: Path) -> None:
    async def work() -> None:
        register, own = await watching(tmp_path)
        for _ in range(2):
            await register.merge(own.version, Tally(rows=[told("a", 0, 5), told("b", 0, 2)]))
        found = await register.measured(own.version, [told("a", 4, 3, 2.0), told("c", 0, 1)])
        assert found is not None
        kept = (found.new, found.duplicates, found.completed, found.contradictory, found.late, found.lost)
        assert kept == (3, 0, 0, 1, 0, 0)
        summary = (await register.summary(own.version))["rows"]
        assert (summary["state"], summary["kept"], summary["from_requests"]["duplicates"]) == ("kept", 10, 7)
        table = frame(tmp_path / rows.FILE)
        assert table["series"].value_counts(sort=True).rows() == [("a", 7), ("b", 2), ("c", 1)]
        assert table.columns[3:] == own.columns
        assert await register.forget("a") == {"rows": 7, "streams": 0}
        assert (await register.summary(own.version))["rows"]["kept"] == 3
        register.close()

    run(work)


def test_a_shadow_s_copies_are_no_rows_and_an_unknown_policy_s_are_asked_for_again(tmp_path: Path) -> None:
    async def work() -> None:
        register, own = await watching(tmp_path)
        lineup = register._account.lineup.model_copy(update={"shadow": "shade"})
        register._account = register._account.model_copy(update={"lineup": lineup})
        await register.watch(replace(own, version="shade"))
        await register.merge("shade", Tally(rows=[told("a", 0, 5)]))
        assert (await register.summary(own.version))["rows"]["kept"] == 0
        assert await register.measured("who", [told("a", 0, 5)]) is None
        register.close()

    run(work)


def test_none_are_kept_where_none_are_to_be_and_those_of_before_are_deleted(tmp_path: Path) -> None:
    async def work() -> None:
        register, own = await watching(tmp_path)
        await register.measured(own.version, [told("secretive", 0, 5)])
        register.close()
        register, own = await watching(tmp_path, keep_days=0)
        found = await register.measured(own.version, [told("a", 0, 5)])
        assert (found and found.new, (await register.summary(own.version))["rows"]["state"]) == (
            None,
            "none are kept: monitor.keep_days is 0",
        )
        register._rows.sweep()
        register.close()
        assert b"secretive" not in (tmp_path / rows.FILE).read_bytes()

    run(work)


def test_what_a_server_was_told_of_watching_holds_for_every_policy(tmp_path: Path) -> None:
    async def work() -> None:
        register = begun(tmp_path, settings={"keep_days": 0.0})
        for version in (register._account.lineup.champion, "another"):
            await register.watch(replace(watched(serving.forecaster()), version=version))
            settings = register._beside.watched(version).settings
            assert (settings.keep_days, settings.max_rows) == (0.0, MonitorConfig().max_rows)
        champion = register._account.lineup.champion
        assert "keep_days is 0" in (await register.summary(champion))["rows"]["state"]
        register.close()

    run(work)


def test_of_whole_sequences_none_are_kept(tmp_path: Path) -> None:
    async def work() -> None:
        register, own = await watching(tmp_path, serving.classifier())
        found = await register.measured(own.version, [Rows("a", np.zeros(1, np.int64), np.zeros((1, 1)))])
        assert found is not None
        assert (found.new, found.scored) == (None, 0)
        assert "whole sequences" in (await register.summary(own.version))["rows"]["state"]
        register.close()

    run(work)


def test_a_disk_that_fails_stops_no_serving_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        monkeypatch.setattr(rows, "TABLES", f"PRAGMA max_page_count=10; {rows.TABLES}")
        register, own = await watching(tmp_path)
        assert await register.merge(own.version, Tally(rows=[told("a", 0, 2_000)], lost_steps=3))
        found = await register.measured(own.version, [told("a", 0, 2_000)])
        assert found is not None
        assert (found.new, found.lost) == (0, 2_000)
        summary = (await register.summary(own.version))["rows"]
        assert summary["state"].startswith("rows are not kept: database or disk is full")
        assert summary["from_requests"]["lost"] == 2_003
        register.close()

    run(work)


def test_writing_holds_up_no_question(tmp_path: Path) -> None:
    async def work() -> None:
        register, own = await watching(tmp_path)
        many = [told(f"series {number}", 0, 500) for number in range(200)]
        writing = asyncio.create_task(register.measured(own.version, many))
        await asyncio.sleep(0.01)
        await asyncio.wait_for(register.status(), 5)
        assert not writing.done()
        found = await writing
        assert found is not None
        assert found.new == 100_000
        register.close()

    run(work)
