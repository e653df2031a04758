"""Which alarms the ledger has been told of. Knows no monitors: it is told what stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

GONE_SECONDS = 60.0
"""An alarm that has not stood for so long has cleared: one that comes and goes is told once."""
Told = tuple[str, dict[str, Any]]


class Noticed:
    """Alarms by policy, kind and what they are about."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str, str], float] = {}

    def look(self, policy: str, rows: Sequence[Mapping[str, Any]], now: float) -> list[Told]:
        """Events and evidence that the ledger is to be told: alarms that have begun, and those that have cleared.

        Args:
            policy: the champion's version; alarms of one before it clear.
            rows: the alarms that stand, as ``Monitor.alarms`` tells them.
            now: seconds of a clock that never goes back.
        """
        told: list[Told] = []
        for row in rows:
            key = (policy, str(row["kind"]), str(row["what"]))
            if key not in self._seen:
                what = {name: row[name] for name in ("kind", "what", "value", "limit", "text")}
                told.append(("alarm", {"policy": policy, **what}))
            self._seen[key] = now
        for key in [key for key, seen in self._seen.items() if now - seen >= GONE_SECONDS]:
            del self._seen[key]
            told.append(("cleared", dict(zip(("policy", "kind", "what"), key, strict=True))))
        return told
