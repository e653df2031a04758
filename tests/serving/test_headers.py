"""What is done to headers before Ray Serve reads them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lstm_ray.serving.gate import waited
from lstm_ray.serving.headers import BEFORE_SERVE, SaneHeaders, before_serve


def passed(*headers: tuple[bytes, bytes], kind: str = "http") -> dict[bytes, bytes]:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(scope["headers"])

    asyncio.run(SaneHeaders(app)({"type": kind, "headers": list(headers)}, None, None))  # type: ignore[arg-type]
    return dict(seen)


def test_every_value_can_be_decoded_and_plain_ones_are_left_as_they_are() -> None:
    given = ((b"accept", b"*/*"), (b"x-session-id", b"\xe9"), (b"user-agent", "é".encode()))
    found = passed(*given)
    assert found[b"accept"] == b"*/*"
    assert found[b"x-session-id"].decode() == "é"
    assert all(value.decode() for value in found.values())


@pytest.mark.parametrize("insane", [b"a\xe9b", b"<script>", b"a b", b"a" * 129, b""])
def test_a_request_id_that_no_log_can_hold_becomes_another(insane: bytes) -> None:
    found = passed((b"x-request-id", insane))[b"x-request-id"]
    assert found != insane
    assert found.decode().isalnum()


def test_a_sane_request_id_stays_and_none_is_made_where_none_was_sent() -> None:
    assert passed((b"x-request-id", b"mine-1")) == {b"x-request-id": b"mine-1"}
    assert passed() == {}


def test_serve_finds_it_by_its_name() -> None:
    module, _, name = BEFORE_SERVE.rpartition(".")
    assert (module, name) == (before_serve.__module__, before_serve.__name__)
    assert [middleware.cls for middleware in before_serve()] == [SaneHeaders]


def test_a_request_is_noted_before_it_waits() -> None:
    found: list[float] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.01)
        found.append(waited(scope))

    asyncio.run(SaneHeaders(app)({"type": "http", "headers": []}, None, None))  # type: ignore[arg-type]
    assert found[0] >= 0.01
