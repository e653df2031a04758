"""Which alarms the ledger has been told of. Knows no monitors: it is told what stands.

A register that begins anew has monitors that begin anew: counts, windows, errors and answers that wait for their truth are
lost, and with them the alarms that stood. ``began`` says which.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lstm_ray.registry.ledger import Entry

GONE_SECONDS = 60.0
"""An alarm that has not stood for so long has cleared: one that comes and goes is told once."""
LOST = (
    "the monitor began anew with its server and has lost what it had measured; what is still so is told again once seen"
)
Told = tuple[str, dict[str, Any]]


def left(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """Evidence of the alarms that a ledger says have begun, and does not say have cleared."""
    standing: dict[tuple[str, ...], dict[str, Any]] = {}
    for entry in entries:
        if entry.event in ("alarm", "cleared"):
            key = tuple(str(entry.evidence.get(name)) for name in ("policy", "kind", "what"))
            standing.pop(key, None)
            if entry.event == "alarm":
                standing[key] = dict(entry.evidence)
    return list(standing.values())


def lost(one: Mapping[str, Any]) -> dict[str, Any]:
    """Evidence that an alarm that was left has cleared."""
    return {**{name: one.get(name) for name in ("policy", "kind", "what")}, "why": LOST}


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
