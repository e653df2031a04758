"""A cluster that a node joins and leaves while it trains: ``python resize.py WAVES FOLDER`` leaves the runs ``calm`` and
``resized``.

A process of its own, because a test's process is connected to another cluster.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import ray
import torch
from ray._raylet import Config
from ray.data._internal.cluster_autoscaler.default_autoscaling_coordinator import get_or_create_autoscaling_coordinator

from lstm_ray.config import with_values
from lstm_ray.lifecycle import run_stages
from lstm_ray.on_ray import cluster as ours
from lstm_ray.on_ray import workers
from lstm_ray.on_ray.nodes import Nodes, running
from tests.on_ray.worlds import prepared, small_config

SECONDS = 200
NOTICED = {
    # A node that is gone is missed within seconds, where it else takes Ray a quarter of a minute.
    "RAY_health_check_initial_delay_ms": "500",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_failure_threshold": "3",
}


def main(file: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    os.environ.update(ours.SETTINGS | NOTICED)
    config = small_config(file, train__max_epochs=60, train__patience=60, train__batch=3)
    prepared(config, folder / "calm", "train")
    workers.RESIZE_SECONDS = 1.0
    with running(1) as nodes:
        os.environ.update(nodes.environment | {"RAY_ADDRESS": nodes.address})
        Config.initialize("")  # Ray read whether to show a token when it was imported.
        run = prepared(config, folder / "resized")
        ours.ensure()
        with ThreadPoolExecutor(1) as pool:
            training = pool.submit(run_stages, with_values(config, {"train.workers": (1, 2)}), run, ["train"])
            join_and_leave(nodes, lambda: sizes(folder / "resized"), training.done)
            training.result()
        ray.shutdown()


def join_and_leave(nodes: Nodes, sizes: Callable[[], list[int]], is_over: Callable[[], bool]) -> None:
    """Add a node of one CPU after the first epoch, and take its power away after the first that two workers trained."""
    wait_for(lambda: bool(sizes()) or is_over())
    node = nodes.add(1)
    look()
    wait_for(lambda: 2 in sizes() or is_over())
    node.kill()
    wait_for(lambda: sum(one["Alive"] for one in ray.nodes()) == 1)
    look()


def sizes(run: Path) -> list[int]:
    """How many workers trained each epoch so far."""
    return next((json.loads(file.read_text()) for file in run.glob(".work/train-*/checkpoints/workers.json")), [])


def look() -> None:
    """Have Ray Train count nodes now: by itself it looks every 20 seconds."""
    ray.get(get_or_create_autoscaling_coordinator().get_reserved_resources.remote("none", recompute=True))


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
