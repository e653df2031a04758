"""A served policy under load for long: errors, latency and the replica's memory, piece by piece. Linux only.

To be called in a process of its own, for it starts a cluster.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from lstm_ray.benchmark import fresh, untrained
from lstm_ray.benchmark.loads import WARM_UP_SECONDS, serving
from lstm_ray.model.policy import Policy
from lstm_ray.serving.stress import Load, closed_loop

REPLICA = b"ray::ServeReplica"
PIECES, PIECE_SECONDS = 10, 60.0
"""A soak is told in minutes, or in so many pieces where it is shorter than as many minutes."""


def soaked(folder: str, connections: int, seconds: float) -> dict[str, Any]:
    """Ask a served policy without a pause.

    Returns:
        ``pieces``, each a load as plain numbers with the ``replica_bytes`` after it; and the p99 over all of the first third of
        them, and of the last.
    """
    bodies = untrained.bodies(Policy.load(folder).config)
    number = max(PIECES, round(seconds / PIECE_SECONDS))
    loads: list[Load] = []
    pieces = []
    with serving(folder) as served:
        url = f"{served.url}/v1/forecast"
        closed_loop(url, bodies, connections, WARM_UP_SECONDS)
        for _ in range(number):
            loads.append(closed_loop(url, bodies, connections, seconds / number))
            pieces.append({**loads[-1].as_dict(), "kinds": loads[-1].errors, "replica_bytes": replica_bytes()})
    third = max(1, number // 3)
    return {"pieces": pieces, "first_p99_ms": _p99(loads[:third]), "last_p99_ms": _p99(loads[-third:])}


def replica_bytes() -> int:
    """Memory that the replicas of this process's cluster hold, shared pages included."""
    page = os.sysconf("SC_PAGE_SIZE")
    replicas = [pid for pid in fresh.family(os.getpid()) if _command(pid).startswith(REPLICA)]
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page for pid in replicas)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _p99(loads: list[Load]) -> float:
    return float(np.quantile(np.concatenate([load.latency_M for load in loads]), 0.99))
