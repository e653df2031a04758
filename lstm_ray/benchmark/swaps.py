"""A served policy replaced by another under load. To be called in a process of its own, for it starts a cluster."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from lstm_ray.benchmark import untrained
from lstm_ray.benchmark.loads import WARM_UP_SECONDS, serving
from lstm_ray.model.policy import Policy
from lstm_ray.on_ray import update
from lstm_ray.serving.stress import closed_loop

CONNECTIONS = 16


def swapped(folder: str, other: str, seconds: float) -> dict[str, Any]:
    """Replace a policy by another a third into a load of so many seconds.

    Raises RuntimeError where the load ended before the swap, or another policy answers after it than should.
    """
    policy = Policy.load(other)
    bodies = untrained.bodies(policy.config)
    with serving(folder) as served, ThreadPoolExecutor(1) as thread:
        url, server = f"{served.url}/v1/forecast", update.server(application=served.application)
        closed_loop(url, bodies, CONNECTIONS, WARM_UP_SECONDS)
        ends = time.perf_counter() + seconds

        def change() -> tuple[dict[str, Any], float]:
            time.sleep(seconds / 3)
            return server.change(update.asked(other)), time.perf_counter()

        changing = thread.submit(change)
        load = closed_loop(url, bodies, CONNECTIONS, seconds)
        told, changed = changing.result()
        version = httpx.get(f"{served.url}/v1/policy").json()["version"]
    if changed > ends:
        raise RuntimeError(
            f"the swap took longer than the load of {seconds:g} seconds; nothing is known of its requests"
        )
    if version != policy.version:
        raise RuntimeError(f"after the swap policy {version} answers, not {policy.version}")
    counted = {"requests": len(load.latency_M), "errors": load.num_errors, "kinds": sorted(load.errors)}
    return {"connections": CONNECTIONS, **counted, **{name: told[name] for name in ("ready_seconds", "swap_seconds")}}
