"""Raw bodies: each is answered or refused with a status and words, whatever its bytes; JSON that is almost right is elsewhere
(tests/serving/test_openapi.py)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lstm_ray.serving.api import make_app
from tests.fuzz.sandbox import spoilt
from tests.serving import services as serving
from tests.serving.services import Client

SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
POLICIES = {"forecast": serving.forecaster, "classify": serving.classifier, "label": serving.labeller}
Asking = tuple[Client, dict[str, bytes]]


@pytest.fixture(scope="module", params=POLICIES)
def asking(request: pytest.FixtureRequest) -> Iterator[Asking]:
    """A client, and a good body for every path that takes one."""
    with Client(make_app(serving.service(POLICIES[request.param](), card="# A card"))) as client:
        told = client.get("/openapi.json").json()["paths"]
        posts = {path: methods["post"] for path, methods in told.items() if "post" in methods}
        good = {
            path: json.dumps(post["requestBody"]["content"]["application/json"]["example"]).encode()
            for path, post in posts.items()
        }
        yield client, good


def ask(asking: Asking, path: str, content: bytes, **headers: str) -> int:
    answer = asking[0].post(path, content=content, headers={"content-type": "application/json", **headers})
    assert answer.status_code in (200, 413, 415, 422), answer.text[:500]
    told: Any = answer.json()
    assert answer.status_code == 200 or told["detail"][0]["msg"]
    assert len(answer.content) < 1_000_000
    return answer.status_code


@SHARED
@given(data=st.data())
def test_spoilt_bodies_are_answered_or_refused(asking: Asking, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(asking[1])))
    ask(asking, path, data.draw(st.binary(max_size=300) | spoilt(asking[1][path])))


@SHARED
@given(
    data=st.data(),
    number=st.sampled_from(["1e400", "-1e400", "9" * 5_000, "0x10", "NaN", "-Infinity", "1e-400", "01", "1.", "-"]),
)
def test_numbers_that_no_machine_holds_are_answered_or_refused(
    asking: Asking, data: st.DataObject, number: str
) -> None:
    path = data.draw(st.sampled_from(sorted(asking[1])))
    good = asking[1][path]
    digits = [at for at, byte in enumerate(good) if byte in b"0123456789"]
    if digits:
        at = data.draw(st.sampled_from(digits))
        ask(asking, path, good[:at] + number.encode() + good[at + 1 :])


HOSTILE = {
    "no UTF-8": b'{"series": "\xff\xfe\xc0\x80"}',
    "another encoding": '{"series": []}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "half a surrogate": b'{"series": [{"name": "\\ud800"}]}',
    "deep lists": b"[" * 50_000,
    "deep lists, closed": b"[" * 50_000 + b"]" * 50_000,
    "deep objects": b'{"a":' * 30_000,
    "deep where a number stands": b'{"series": ' + b"[" * 900 + b"]" * 900 + b"}",
    "a key twice": b'{"series": [], "series": [1]}',
    "many keys": json.dumps({f"k{n}": n for n in range(10_000)}).encode(),
    "two bodies": b'{"series": []}{"series": []}',
    "nothing": b"",
    "a number": b"1",
    "null bytes": b"\x00" * 1_000,
    "a long number": b'{"series": ' + b"9" * 100_000 + b"}",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_bodies_are_refused(asking: Asking, content: bytes) -> None:
    for path in asking[1]:
        assert ask(asking, path, content) in (413, 415, 422)


@SHARED
@given(kind=st.text(alphabet=st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=40))
def test_any_content_type_is_answered_or_refused(asking: Asking, kind: str) -> None:
    path, good = next(iter(asking[1].items()))
    ask(asking, path, good, **{"content-type": kind.strip()})
