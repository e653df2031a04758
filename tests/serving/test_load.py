"""What a replica has to do, as it counts it itself."""

from __future__ import annotations

import asyncio
from typing import Any

from lstm_ray.serving.load import Counted, InFlight


def test_requests_under_way_are_counted_and_gets_are_none() -> None:
    in_flight, gate = InFlight("one", 4, queued=lambda: 2), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await gate.wait()
        if scope["path"] == "/broken":
            raise ValueError

    async def go() -> None:
        counted = Counted(app, in_flight)
        scopes = [("POST", "/a"), ("POST", "/broken"), ("GET", "/b")]
        calls = [
            asyncio.ensure_future(counted({"type": "http", "method": method, "path": path}, None, None))
            for method, path in scopes
        ]
        await asyncio.sleep(0)
        load = in_flight.told()["one"]
        assert (load.in_flight, load.most, load.queued, load.capacity) == (2, 2, 2, 4)
        gate.set()
        await asyncio.gather(*calls, return_exceptions=True)
        load = in_flight.told()["one"]
        assert (load.in_flight, load.most) == (0, 2), "since it was told before, two were under way"
        assert in_flight.told()["one"].most == 0

    asyncio.run(go())


def test_a_replica_is_due_until_it_has_told_its_load() -> None:
    in_flight = InFlight("one", 4)
    assert in_flight.due
    in_flight.told()
    assert not in_flight.due


def test_where_no_limit_is_known_no_load_is_told() -> None:
    assert not InFlight().due
    assert InFlight().told() == {}
