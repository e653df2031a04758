"""A place whose surroundings are watched, and bytes as they are after something went wrong with them."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import strategies as st

from lstm_ray.errors import InputError

SECONDS, BYTES = 10.0, 1 << 30
"""Of the processor that one reading may take, and memory that it may add to the process's peak: far above what any needs."""


@contextmanager
def held(inside: Path) -> Iterator[None]:
    """What happens is an answer or an InputError, in time and memory, and touches nothing around ``inside``."""
    sentinel = inside.parent / "sentinel"
    sentinel.write_text("untouched")
    before, peak, began = _around(inside), _peak(), time.process_time()
    try:
        yield
    except InputError as error:
        assert str(error).strip(), "an error has words"  # noqa: PT017
    assert time.process_time() - began < SECONDS
    assert _peak() - peak < BYTES
    assert _around(inside) == before


def _around(inside: Path) -> dict[str, bytes | None]:
    beside = (path for path in inside.parent.rglob("*") if not path.is_relative_to(inside))
    return {str(path): path.read_bytes() if path.is_file() else None for path in beside}


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@st.composite
def spoilt(draw: st.DrawFn, content: bytes, most: int = 6) -> bytes:
    """Bytes of which some were flipped, cut off, put in or written twice."""
    found = bytearray(content)
    for _ in range(draw(st.integers(1, most))):
        # Both ends hold what tells how the rest is read.
        span = max(1, min(len(found), draw(st.sampled_from([16, 200, 2_000, len(found) or 1]))))
        at = draw(st.integers(0, span - 1))
        at = at if draw(st.booleans()) else max(0, len(found) - 1 - at)
        match draw(st.sampled_from(["flip", "cut", "put", "repeat"])):
            case "flip" if found:
                found[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del found[at : at + draw(st.integers(1, max(1, len(found))))]
            case "put":
                found[at:at] = draw(st.binary(min_size=1, max_size=8) | st.sampled_from([b"\xff" * 8, b"\x00" * 8]))
            case _:
                found[at:at] = found[max(0, at - 32) : at]
    return bytes(found)
