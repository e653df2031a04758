"""A line of JSON for each request, for whoever runs the server: who asked for what, and how it went. Knows no HTTP library.

No line holds what was sent or answered: no bodies, tokens, names of series or query strings, which may be secrets. A path is
told as the route that it met, a token by its name, and the first series by keyed hashes of theirs (``live.names`` tells how to
find the lines of one).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TextIO

from lstm_ray.live.names import hashed

Which = Literal["none", "errors", "all"]
MAX_NAMED = 3
"""Series of a request that its line names."""


@dataclass(frozen=True)
class Passed:
    """What is known of a request once it is answered."""

    request_id: str
    method: str
    route: str
    """As it is documented, such as /v1/forecast; 'other' where none was met."""
    status: int
    seconds: float
    num_bytes: int
    """Of the body, as far as it was read."""
    num_series: int | None = None
    """None: none were read."""
    token: str | None = None
    """Name of the one that was shown; None where none is needed, or a wrong one was."""
    names: Sequence[str] = ()
    """Of the first series, plain: they stay in memory."""


class RequestLog:
    """Writes a line for each request that is asked for.

    Args:
        which: none, those refused or failed (a status from 400), or all.
        policy: version of the policy that answers.
        stream: where to; None: stderr as it is when a line is written.
        key: of the names' hashes; empty: none is told.
    """

    def __init__(self, which: Which, policy: str, stream: TextIO | None = None, key: str = "") -> None:
        self._least = {"none": 1000, "errors": 400, "all": 0}[which]
        self._policy, self._stream, self._key = policy, stream, key

    def __call__(self, passed: Passed) -> None:
        if passed.status < self._least:
            return
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "request_id": passed.request_id,
            "method": passed.method,
            "route": passed.route,
            "status": passed.status,
            "ms": round(1000 * passed.seconds, 2),
            "bytes": passed.num_bytes,
            "series": passed.num_series,
            "policy": self._policy,
            "token": passed.token,
            "named": [hashed(name, self._key) for name in passed.names[:MAX_NAMED] if name] if self._key else [],
        }
        # One call, so that lines of several writers do not mix.
        stream = self._stream or sys.stderr
        stream.write(json.dumps(line) + "\n")
        stream.flush()
