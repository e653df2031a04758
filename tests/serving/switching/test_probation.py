"""A new champion on probation: held against the one before on the same truth, put back or let go on, by itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstm_ray.errors import InputError
from lstm_ray.monitor.traffic import Answer, Rows, Tally
from lstm_ray.monitor.watched import watched
from lstm_ray.registry import policies
from lstm_ray.registry.account import read
from lstm_ray.registry.ledger import Ledger
from lstm_ray.registry.probation import FAILURES, MOST, Answered, Probation, Running
from lstm_ray.serving.switching import register as module
from lstm_ray.serving.switching.change import Change
from lstm_ray.serving.switching.register import Register
from lstm_ray.serving.switching.trial import Trial, as_columns, count
from tests.serving import services as serving
from tests.serving.switching.test_register import Follower, begun, packed, run, version

OLD, NEW = packed(), packed(1)
BOUNDS = Probation(ratio=1.25, values=10, hours=1)
WATCHED = watched(serving.forecaster())
STEP = WATCHED.step


def trial(**more: Any) -> Trial:
    return Trial(Running(probation=BOUNDS, policy="new", against="old", since="", **more), WATCHED)


def tally(error: float, first: int = 0, name: str = "a", steps: int = 6) -> Tally:
    """One answer whose truth is zero."""
    found = Tally(num_series=1)
    found.answers.append(Answer(name, first * STEP, np.full((steps, 1), error)))
    return found


def truth(first: int = 0, steps: int = 6, name: str = "a") -> Rows:
    return Rows(name, STEP * np.arange(first, first + steps), np.zeros((steps, len(WATCHED.columns))))


def test_values_that_both_predicted_count_once_in_whatever_order_their_answers_came() -> None:
    found = trial()
    found.merge("new", tally(3.0, 0))
    found.merge("old", tally(2.0, 0))
    found.merge("old", tally(2.0, 6))
    found.merge("new", tally(3.0, 6))
    found.merge("new", tally(1.0, 12))
    found.merge("other", tally(9.0, 12))
    found.observe(truth(0, 24))
    found.observe(truth(0, 24))
    running = found.running
    assert (running.values, running.ratio) == (12, 1.5), "the last was answered by the new one alone"
    assert "1.5 times" in running.breach()
    assert running.told()["errors"] == [3.0]


def test_missing_truth_and_bounded_memory_favour_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lstm_ray.serving.switching.trial.MAX_WAITING_VALUES", 60)
    found = trial()
    for first in range(100):
        for side in ("new", "old"):
            found.merge(side, tally(1.0, first, name=f"s{first % 7}"))
    rows = truth(0, 200)
    rows.values_TF[50:60] = np.nan
    for name in range(7):
        found.observe(Rows(f"s{name}", rows.tick_T, rows.values_TF))
    assert 0 < found.running.values <= 60
    assert found.running.ratio == 1.0
    assert not found._pairs
    assert not found._num_waiting


def test_a_breach_is_told_of_errors_and_of_failures_once_there_are_enough() -> None:
    running = trial().running
    assert (running.ratio, running.breach()) == (None, "")
    running.num_C, running.error_C, running.before_C = [9], [90.0], [9.0]
    assert running.breach() == "", "too few values"
    running.num_C = [10]
    assert "its error is 10 times" in running.breach()
    running.before_C = [0.0]
    assert running.ratio == MOST
    running.error_C = [0.0]
    assert (running.ratio, running.breach()) == (1.0, "")
    running.answered.requests, running.answered.failed = 100, FAILURES
    assert f"{FAILURES} of its 100 predictions failed" in running.breach()
    running.answered_before.requests, running.answered_before.failed = 100, FAILURES
    assert running.breach() == "", "the one before failed as often"


def test_what_a_full_server_turned_away_is_held_against_no_policy() -> None:
    answered = Answered()
    count(answered, Tally(Counter({("/v1/forecast", 200): 90, ("/v1/forecast", 503): 40}), num_series=90))
    assert (answered.requests, answered.failed) == (90, 0)
    count(answered, Tally(Counter({("/v1/forecast", 500): 3})))
    assert (answered.requests, answered.failed) == (93, 3)


def test_rows_of_other_columns_are_told_by_name() -> None:
    rows = Rows("a", np.arange(2), np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert as_columns(rows, ["load", "wind"], ["load", "wind"]) is rows
    other = as_columns(rows, ["load", "wind"], ["wind", "sun", "load"]).values_TF
    np.testing.assert_array_equal(other, [[2.0, np.nan, 1.0], [4.0, np.nan, 3.0]])


async def promoted(folder: Path, bounds: Probation = BOUNDS, **more: Any) -> tuple[Register, asyncio.Task[None]]:
    """A register whose new champion is on probation."""
    register = begun(folder, **more)
    follower = asyncio.create_task(Follower(register, "a").follow())
    for files in (OLD, NEW):
        await register.watch(watched_of(files))
    found = await register.change(Change("champion", NEW, "run 1", probation=bounds, evidence={"p": 0.01}, who="me"))
    assert found["lineup"]["shadow"] == version(OLD)
    assert found["probation"]["state"] == "on probation"
    for files in (OLD, NEW):
        await register.watch(watched_of(files))
    return register, follower


def watched_of(files: Any) -> Any:
    return type(WATCHED)(**{**vars(WATCHED), "version": version(files)})


async def feed(register: Register, new: float, old: float, number: int = 4) -> None:
    for first in range(0, 6 * number, 6):
        await register.merge(version(NEW), tally(new, first))
        await register.observe(version(NEW), truth(first))
        # As a shadow does, it answers a moment later.
        await register.merge(version(OLD), tally(old, first))


async def until(register: Register, champion: str) -> dict[str, Any]:
    while (found := await register.status())["probation"]["state"] == "on probation":
        await asyncio.sleep(0.01)
    if register._judging is not None:
        await register._judging
    assert found["lineup"]["champion"] == champion
    return found


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lstm_ray.serving.switching.beside.LATE_SECONDS", 0.02)
    monkeypatch.setattr(module, "POLL_SECONDS", 0.02)


def test_a_new_champion_that_is_worse_is_rolled_back_by_itself_and_the_ledger_tells_why(tmp_path: Path) -> None:
    async def work() -> None:
        register, follower = await promoted(tmp_path)
        await feed(register, new=2.0, old=1.0)
        found = await until(register, version(OLD))
        assert found["lineup"]["shadow"] is None
        assert found["probation"]["state"].startswith("rolled back: its error is 2 times")
        assert [kept["flags"] for kept in found["policies"]] == [[], ["rolled back"]]
        entries = Ledger(tmp_path).read()
        assert [entry.event for entry in entries] == ["promoted", "served", "promoted", "rolled_back"]
        assert (entries[2].who, entries[2].evidence["p"]) == ("me", 0.01)
        told = entries[3].evidence
        assert (told["policy"], told["from"]) == (version(OLD), version(NEW))
        assert told["probation"]["ratio"] == 2.0
        assert told["probation"]["values"] >= 10
        assert Ledger(tmp_path).verify()[0] == 4
        follower.cancel()
        register.close()

    run(work)


def test_one_that_is_as_good_goes_on_and_its_shadow_ends_with_its_time(tmp_path: Path) -> None:
    async def work() -> None:
        register, follower = await promoted(tmp_path, Probation(ratio=1.25, values=10, hours=0.3 / 3600))
        await feed(register, new=1.0, old=1.0, number=2)
        found = await until(register, version(NEW))
        assert found["lineup"]["shadow"] is None
        assert found["probation"]["state"] == "passed: it stayed within its bounds"
        entry = Ledger(tmp_path).read()[-1]
        assert (entry.event, entry.evidence["role"], entry.evidence["policy"]) == ("ended", "probation", version(NEW))
        follower.cancel()
        register.close()

    run(work)


def test_a_probation_outlives_its_register_and_the_wall_clock_ends_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def first() -> None:
        register, follower = await promoted(tmp_path)
        await feed(register, new=2.0, old=1.0, number=1)
        await asyncio.sleep(0.1)
        monkeypatch.setattr(module, "KEEP_SECONDS", 0.0)
        await asyncio.sleep(0.1)
        follower.cancel()
        register.close()

    run(first)
    kept = read(tmp_path)
    assert kept is not None
    assert kept.running is not None
    assert kept.running.values == 6
    monkeypatch.setattr("time.time", lambda: 9e9)

    async def second() -> None:
        register = begun(tmp_path)
        follower = asyncio.create_task(Follower(register, "a").follow())
        for files in (OLD, NEW):
            await register.watch(watched_of(files))
        await asyncio.sleep(0.1)
        assert (await register.status())["probation"]["state"] == "on probation"
        await feed(register, new=2.0, old=1.0, number=2)
        await until(register, version(OLD))
        follower.cancel()
        register.close()

    run(second)


def test_a_new_champion_that_fails_is_rolled_back_whatever_it_answers(tmp_path: Path) -> None:
    async def work() -> None:
        register, follower = await promoted(tmp_path)
        await register.merge(version(NEW), Tally(num_series=50, requests=Counter({("/v1/forecast", 500): 6})))
        found = await until(register, version(OLD))
        assert "6 of its 56 predictions failed" in found["probation"]["state"]
        follower.cancel()
        register.close()

    run(work)


def test_a_full_disk_keeps_no_bad_champion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        register, follower = await promoted(tmp_path)
        write = policies.Registry.write

        def full(self: Any, account: Any) -> None:
            raise InputError("No space left on device")

        monkeypatch.setattr(policies.Registry, "write", full)
        with pytest.raises(InputError, match="No space"):
            await register.change(Change("rollback"))
        assert (await register.lineup("a")).champion == version(NEW), "a change by hand is made on disk or not at all"
        await feed(register, new=2.0, old=1.0)
        found = await until(register, version(OLD))
        assert any("No space left" in error for error in found["errors"])
        monkeypatch.setattr(policies.Registry, "write", write)
        monkeypatch.setattr(module, "KEEP_SECONDS", 0.0)
        await asyncio.sleep(0.2)
        assert not (await register.status())["errors"]
        account = read(tmp_path)
        assert account is not None
        assert account.lineup.champion == version(OLD)
        follower.cancel()
        register.close()

    run(work)


def test_a_change_by_hand_ends_a_probation_and_takes_its_shadow_away(tmp_path: Path) -> None:
    async def work() -> None:
        register, follower = await promoted(tmp_path)
        found = await register.change(Change("champion", packed(2), "run 2"))
        assert (found["lineup"]["shadow"], found["probation"]["state"]) == (None, "another change ended it")
        assert [entry.event for entry in Ledger(tmp_path).read()][-2:] == ["promoted", "ended"]
        follower.cancel()
        register.close()

    run(work)
