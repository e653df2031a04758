"""How many requests, how fast and how they ended: in all, and of late. Knows tallies; knows no server.

Shapes: K latency bins.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray.monitor.alarms import Reading, surely_over
from lstm_ray.monitor.traffic import EDGES_SECONDS, Load, Tally, latency_quantile
from lstm_ray.sections.operate import MonitorConfig

MINUTE_SECONDS = 60.0
SLOT_SECONDS, MOST_SLOTS = 10.0, 30
"""Of late: five minutes of traffic, and where requests are few as many slots as hold some, but not older than OLDEST."""
OLDEST_SECONDS = 3_600.0
ENOUGH_TIMED = 100
"""Predictions without which the slowest 1 % of them are not judged."""
SILENT_SECONDS = 20.0
"""A replica that has told no load for so long is gone."""
SATURATED, SATURATED_SECONDS = 0.9, 5.0
"""Share of what replicas take at once, held for so long, from which they are told as saturated."""
BUCKETS = 6
"""Latency bins in one bucket of the histogram that is told."""


def _bins() -> NDArray:
    return np.zeros(len(EDGES_SECONDS) + 1, np.int64)


@dataclass
class _Slot:
    began: float
    total: int = 0
    failed: int = 0
    latency_K: NDArray = field(default_factory=_bins)


class Requests:
    """Sums over all replicas.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, settings: MonitorConfig, clock: Callable[[], float]) -> None:
        self._settings, self._clock, self.started = settings, clock, clock()
        self._by: Counter[tuple[str, int]] = Counter()
        self._latency_K, self._latency_seconds = _bins(), 0.0
        self._slots: deque[_Slot] = deque(maxlen=MOST_SLOTS)
        self._newest: deque[tuple[float, int]] = deque(maxlen=2_000)
        self._loads: dict[str, tuple[float, Load]] = {}

    def add(self, tally: Tally) -> None:
        now, total = self._clock(), sum(tally.requests.values())
        self._by.update(tally.requests)
        self._latency_K += tally.latency_K
        self._latency_seconds += tally.latency_seconds
        self._loads.update({replica: (now, load) for replica, load in tally.loads.items()})
        if not total:
            return
        self._newest.append((now, total))
        if not self._slots or now - self._slots[-1].began >= SLOT_SECONDS:
            self._slots.append(_Slot(now))
        slot = self._slots[-1]
        slot.total += total
        slot.failed += sum(number for (_, status), number in tally.requests.items() if status >= 500)
        slot.latency_K += tally.latency_K

    def readings(self) -> list[Reading]:
        """What may be an alarm."""
        found, slots = [], [slot for slot in self._slots if self._clock() - slot.began <= OLDEST_SECONDS]
        total, failed = sum(slot.total for slot in slots), sum(slot.failed for slot in slots)
        if total:
            share, limit = failed / total, self._settings.errors
            text = f"{failed} of the newest {total:,} requests failed, {share:.1%}; the limit is {limit:.1%}"
            found.append(Reading("errors", "5xx", share, limit, text, over=surely_over(failed, total, limit)))
        latency_K = sum((slot.latency_K for slot in slots), _bins())
        if latency_K.sum() >= ENOUGH_TIMED:
            slow, limit = latency_quantile(latency_K, 0.99) or 0.0, self._settings.p99_ms
            text = f"the slowest 1 % of the newest {latency_K.sum():,} predictions took {slow:,.0f} ms; "
            text += f"the limit is {limit:,.0f} ms"
            found.append(Reading("latency", "p99", slow, limit, text))
        load = self.load()
        if load["saturation"] is not None:
            text = f"{load['most']} of {load['capacity']} requests that the replicas take at once were being answered"
            found.append(Reading("saturation", "", load["saturation"], SATURATED, text, SATURATED_SECONDS))
        return found

    def load(self) -> dict[str, Any]:
        """What replicas have to do now; saturation is a share of what they take at once, None where none has told."""
        now = self._clock()
        self._loads = {name: told for name, told in self._loads.items() if now - told[0] <= SILENT_SECONDS}
        loads = [load for _, load in self._loads.values()]
        capacity, most = sum(load.capacity for load in loads), sum(load.most for load in loads)
        return {
            "replicas": len(loads),
            "in_flight": sum(load.in_flight for load in loads),
            "most": most,
            "queued": sum(load.queued for load in loads),
            "capacity": capacity,
            "saturation": most / capacity if capacity else None,
        }

    def summary(self) -> dict[str, Any]:
        """Requests and latency, as plain values for JSON."""
        by_route: Counter[str] = Counter()
        for (route, _), number in self._by.items():
            by_route[route] += number
        return {
            "requests": {
                "total": by_route.total(),
                "refused": self._number(400, 500),
                "errors": self._number(500, 600),
                "per_second_last_minute": self.rate(),
                "by_route": dict(by_route),
                "by_status": [
                    {"route": route, "status": status, "requests": number}
                    for (route, status), number in sorted(self._by.items())
                ],
            },
            "latency_ms": {f"p{share}": latency_quantile(self._latency_K, share / 100) for share in (50, 95, 99)},
            "latency_histogram": self._histogram(),
        }

    def recent_p99(self) -> float | None:
        return latency_quantile(self._slots[-1].latency_K, 0.99) if self._slots else None

    def rate(self) -> float:
        """Requests a second over the last minute."""
        now = self._clock()
        recent = sum(number for at, number in self._newest if now - at <= MINUTE_SECONDS)
        return round(recent / min(MINUTE_SECONDS, max(1.0, now - self.started)), 2)

    def _histogram(self) -> dict[str, Any]:
        """Predictions that took at most so many seconds; the last is all of them."""
        cumulative_K = self._latency_K.cumsum()
        edges, counts = EDGES_SECONDS[::BUCKETS], cumulative_K[:-1][::BUCKETS]
        return {
            "le_seconds": [float(f"{edge:.4g}") for edge in edges],
            "counts": [*counts.tolist(), int(cumulative_K[-1])],
            "sum_seconds": round(self._latency_seconds, 6),
        }

    def _number(self, first: int, end: int) -> int:
        return sum(number for (_, status), number in self._by.items() if first <= status < end)
