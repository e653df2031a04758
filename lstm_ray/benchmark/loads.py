"""Load on a served policy and on the servers beside it, taken in turns. To be called in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from lstm_ray.benchmark import fresh, untrained
from lstm_ray.model.policy import Policy
from lstm_ray.on_ray.ports import free_port
from lstm_ray.on_ray.serve import Served, running
from lstm_ray.sections.deploy import DeployConfig
from lstm_ray.serving import bundle
from lstm_ray.serving.stress import Load, closed_loop

FORECAST, PLAIN = "POST /v1/forecast", "plain FastAPI, POST /forecast"
NO_OP, REFUSED = "GET /healthz, the no-op route", "POST /healthz with the same body, read and refused with 405"
CONNECTIONS = (1, 8, 64)
WARM_UP_SECONDS, READY_SECONDS = 1.0, 60.0


def in_turns(folder: str, seconds: float, turns: int) -> dict[str, list[dict[str, Any]]]:
    """Every load of every server in each of the turns, by its server's name.

    Args:
        folder: the policy's.
        seconds: of each load.
    """
    policy = Policy.load(folder)
    bodies = untrained.bodies(policy.config)
    with serving(folder) as served, plain_server(folder) as plain:
        servers = {
            FORECAST: (f"{served.url}/v1/forecast", bodies, 200),
            NO_OP: (f"{served.url}/healthz", [], 200),
            REFUSED: (f"{served.url}/healthz", bodies, 405),
            PLAIN: (f"{plain}/forecast", bodies, 200),
        }
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in servers}
        for url, sent, expected in servers.values():
            closed_loop(url, sent, max(CONNECTIONS), WARM_UP_SECONDS, expected=expected)
        for _ in range(turns):
            for connections in CONNECTIONS:
                for name, (url, sent, expected) in servers.items():
                    found[name].append(told(closed_loop(url, sent, connections, seconds, expected=expected)))
    return found


def told(load: Load) -> dict[str, Any]:
    """A load as plain numbers, with the share of a core that asking took and how it failed."""
    return {**load.as_dict(), "generator_cores": load.cpu_seconds / load.seconds, "kinds": load.errors}


@contextmanager
def serving(folder: str, **deploy: Any) -> Iterator[Served]:
    """The policy behind Ray Serve, one replica, on any free port of loopback."""
    with running(bundle.pack(Path(folder)), DeployConfig(**{"port": 0, **deploy})) as served:
        yield served


@contextmanager
def plain_server(folder: str) -> Iterator[str]:
    """The address of the plain server, in a process of its own."""
    port = free_port()
    with fresh.beside("lstm_ray.benchmark.plain:serve", folder=folder, port=port):
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + READY_SECONDS
        while True:
            try:
                httpx.get(url)
                break
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"the plain server did not start within {READY_SECONDS:g} s") from None
                time.sleep(0.1)
        yield url
