"""Load on an HTTP address: clients that ask again as soon as they are answered. Knows URLs; knows no policy."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Load:
    """What a closed loop measured."""

    connections: int
    seconds: float
    latency_M: NDArray
    """Milliseconds of each answered request."""
    num_errors: int
    """Answers other than 200, and connections that broke."""

    def as_dict(self) -> dict[str, float | int | None]:
        """Plain numbers; latencies are None where nothing was answered."""
        shares = {name: self.quantile(share) for name, share in (("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99))}
        return {
            "connections": self.connections,
            "seconds": round(self.seconds, 3),
            "requests": len(self.latency_M),
            "requests_per_second": round(len(self.latency_M) / self.seconds, 1),
            "errors": self.num_errors,
            **shares,
        }

    def quantile(self, share: float) -> float | None:
        """Milliseconds below which this share of the answers came."""
        return round(float(np.quantile(self.latency_M, share)), 3) if len(self.latency_M) else None


def closed_loop(url: str, bodies: Sequence[bytes], connections: int, seconds: float, token: str | None = None) -> Load:
    """POST the bodies in turn over each of some kept-alive connections until the time is up."""
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    latencies: list[list[float]] = [[] for _ in range(connections)]
    errors = [0] * connections
    began = time.perf_counter()
    until = began + seconds

    def client(number: int) -> None:
        at, turn = urlsplit(url), number
        connection = http.client.HTTPConnection(at.netloc, timeout=TIMEOUT_SECONDS)
        while (sent := time.perf_counter()) < until:
            try:
                connection.request("POST", at.path, bodies[turn % len(bodies)], headers)
                answer = connection.getresponse()
                answer.read()
                right = answer.status == 200
            except (OSError, http.client.HTTPException):
                right = False
                connection.close()
            if right:
                latencies[number].append(1000 * (time.perf_counter() - sent))
            else:
                errors[number] += 1
            turn += connections
        connection.close()

    clients = [threading.Thread(target=client, args=(number,), daemon=True) for number in range(connections)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    took = time.perf_counter() - began
    return Load(connections, took, np.array([ms for own in latencies for ms in own]), sum(errors))
