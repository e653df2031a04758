"""How a few numbers went since a policy is served, in bounded room. Knows no policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MOST = 240
"""Points; where they are full every other one goes, and new ones come half as often."""
FIRST_SECONDS = 5.0


class History:
    """Points that lie further apart the longer it goes on, so that the whole of it is there."""

    def __init__(self) -> None:
        self._every = FIRST_SECONDS
        self._points: list[dict[str, Any]] = []

    def due(self, seconds: float) -> bool:
        return not self._points or seconds - self._points[-1]["seconds"] >= self._every

    def add(self, seconds: float, values: Mapping[str, float | int | None]) -> None:
        if len(self._points) == MOST:
            self._points, self._every = self._points[1::2], 2 * self._every
        self._points.append({"seconds": round(seconds, 1), **values})

    def points(self) -> list[dict[str, Any]]:
        """The oldest first."""
        return list(self._points)
