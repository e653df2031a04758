"""The register with replicas that are coroutines: two steps, refusals, restarts, rollbacks; and what is kept on disk."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lstm_ray.errors import InputError
from lstm_ray.model.stored import POLICY, Files
from lstm_ray.registry.folder import require_free
from lstm_ray.registry.ledger import Ledger
from lstm_ray.registry.policies import MAX_KEPT, Registry, lay
from lstm_ray.serving.switching.change import Change
from lstm_ray.serving.switching.fits import breaks
from lstm_ray.serving.switching.noticed import Noticed
from lstm_ray.serving.switching.register import Register
from tests.serving import services as serving


def packed(number: int = 0) -> Files:
    policy = serving.forecaster()
    policy.facts["number"] = number
    return policy.files()


def version(files: Files) -> str:
    found: str = json.loads(files[POLICY])["version"]
    return found


class Follower:
    """A replica that takes what it is told, unless it has something against it."""

    def __init__(self, register: Register, name: str, against: str = "") -> None:
        self.register, self.name, self.against, self.served = register, name, against, ""

    async def follow(self) -> None:
        sequence = -1
        while True:
            lineup = await self.register.wait(self.name, sequence)
            if lineup.sequence != sequence:
                refused = self.against in lineup.versions
                self.served = self.served if refused else lineup.champion
                sequence = lineup.sequence
                await self.register.took(self.name, sequence, "not this one" if refused else "")


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 20))  # type: ignore[arg-type]


def begun(folder: Path, session: str = "one", **more: Any) -> Register:
    return Register(folder, session, "first", lay(folder, packed()), **more)


def test_a_change_is_made_by_all_or_by_none_and_rollbacks_undo_one_after_the_other(tmp_path: Path) -> None:
    async def work() -> None:
        told = []

        async def on_champion(files: Files) -> None:
            told.append(version(files))

        register, files = begun(tmp_path, on_champion=on_champion), [packed(n) for n in range(4)]
        names = [version(one) for one in files]
        followers = [Follower(register, "a"), Follower(register, "b", against=names[3])]
        tasks = [asyncio.create_task(follower.follow()) for follower in followers]
        for number in (1, 2):
            found = await register.change(Change("champion", files[number], f"run {number}"))
            assert {follower.served for follower in followers} == {names[number]} == {found["lineup"]["champion"]}
            assert (found["replicas"], found["behind"], found["warning"]) == (2, 0, "")
        with pytest.raises(InputError, match="refused, and what was served goes on: not this one"):
            await register.change(Change("champion", files[3], "run 3"))
        await asyncio.sleep(0.05)
        assert {follower.served for follower in followers} == {names[2]}
        assert (await register.status())["behind"] == 0
        for number in (1, 0):
            await register.change(Change("rollback"))
            assert {follower.served for follower in followers} == {names[number]}
        with pytest.raises(InputError, match="no champion before this one"):
            await register.change(Change("rollback"))
        assert told == [names[1], names[2], names[1], names[0]]
        for task in tasks:
            task.cancel()
        register.close()

    run(work)


def test_a_register_that_restarts_says_what_it_said_and_a_new_session_begins_with_what_it_is_given(
    tmp_path: Path,
) -> None:
    async def work() -> None:
        register = begun(tmp_path)
        follower = asyncio.create_task(Follower(register, "a").follow())
        other = packed(1)
        await register.change(Change("champion", other, "run 1"))
        await register.change(Change("canary", packed(2), "run 2", share=0.2))
        lineup = await register.lineup("late")
        follower.cancel()
        register.close()
        again = begun(tmp_path)
        assert await again.lineup("a") == lineup, "the same session"
        waiting = asyncio.create_task(again.wait("a", lineup.sequence))
        await asyncio.sleep(0.01)
        status = await again.status()
        assert (status["replicas"], status["behind"]) == (1, 0), "it serves what it served"
        waiting.cancel()
        again.close()

    run(work)

    async def later() -> None:
        register = begun(tmp_path, "two")
        assert (await register.lineup("a")).champion == version(packed())
        assert {kept["source"] for kept in (await register.status())["policies"]} == {"first", "run 1", "run 2"}
        register.close()

    run(later)


def test_nobody_shares_a_history_and_it_keeps_so_many_policies_and_those_that_are_served(tmp_path: Path) -> None:
    first = packed()
    history = Registry(tmp_path, "one")
    account = history.begin("first", lay(tmp_path, first))
    with pytest.raises(InputError, match=r"another server serves this run.*'lstm-ray update'"):
        Registry(tmp_path, "two")
    with pytest.raises(InputError, match="another server serves this run"):
        require_free(tmp_path, seconds=0)
    for number in range(1, MAX_KEPT + 5):
        history.keep(account, packed(number), f"run {number}")
    assert len(account.policies) == MAX_KEPT
    assert account.policies[0].source == "first", "it is served"
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == MAX_KEPT
    assert history.files(version(first)) == first
    history.close()
    require_free(tmp_path, seconds=0)


def test_no_change_is_made_where_no_replica_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lstm_ray.serving.switching.register.SILENT_SECONDS", 0.1)

    async def work() -> None:
        register = begun(tmp_path)
        with pytest.raises(InputError, match="no replica has answered"):
            await register.change(Change("champion", packed(1), "run 1"))
        register.close()

    run(work)


def test_what_would_break_clients_is_told() -> None:
    forecaster, classifier = (json.loads(p.files()[POLICY]) for p in (serving.forecaster(), serving.classifier()))
    assert not breaks(forecaster, forecaster)
    words = "; ".join(breaks(forecaster, classifier))
    assert "has the task classify, not forecast" in words
    longer = json.loads(json.dumps(forecaster))
    longer["config"]["window"]["history"] += 12
    longer["config"]["model"]["quantiles"] = [0.5]
    assert breaks(forecaster, longer) == [
        "tells no quantiles 0.1, 0.9",
        "reads at least 24 steps of history, not 12",
    ]
    assert not breaks(longer, forecaster)


def test_an_alarm_is_noticed_once_and_clears_only_after_a_while() -> None:
    noticed, row = Noticed(), {"kind": "drift", "what": "wind", "value": 2.0, "limit": 1.0, "text": "it moved"}
    [(event, evidence)] = noticed.look("a", [row], 0.0)
    assert (event, evidence["policy"], evidence["text"]) == ("alarm", "a", "it moved")
    for now in (5.0, 60.0, 100.0):
        assert not noticed.look("a", [row], now), "it still stands"
    assert not noticed.look("a", [], 159.0)
    assert not noticed.look("a", [row], 159.5), "it came back"
    assert noticed.look("b", [], 220.0) == [("cleared", {"policy": "a", "kind": "drift", "what": "wind"})]


def test_a_register_that_begins_anew_says_which_alarms_its_monitor_lost(tmp_path: Path) -> None:
    async def work() -> None:
        row = {"policy": "a", "kind": "drift", "what": "wind", "value": 2.0, "limit": 1.0, "text": "it moved"}
        begun(tmp_path).close()
        ledger = Ledger(tmp_path)
        for event, what in (("alarm", "wind"), ("alarm", "load"), ("cleared", "load")):
            ledger.append(event, row | {"what": what}, "the server itself")
        register = begun(tmp_path)
        found = await register.summary((await register.lineup("one")).champion)
        assert found["alarms_before"] == [row]
        register._notice()
        last = ledger.read()[-1]
        assert (last.event, last.evidence["what"]) == ("cleared", "wind")
        assert "lost what it had measured" in last.evidence["why"]
        register.close()
        again = begun(tmp_path)
        assert (await again.summary((await again.lineup("one")).champion))["alarms_before"] == []
        again.close()

    run(work)
