"""A cluster that grows while it trains: ``python resize.py WAVES FOLDER`` leaves the runs ``calm`` and ``grown``.

A process of its own, because a test's process is connected to another cluster.
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import ray
import torch
from ray.cluster_utils import Cluster
from ray.data._internal.cluster_autoscaler.default_autoscaling_coordinator import get_or_create_autoscaling_coordinator

from lstm_ray.config import with_values
from lstm_ray.lifecycle import run_stages
from lstm_ray.on_ray import cluster as ours
from lstm_ray.on_ray import workers
from tests.on_ray.worlds import prepared, small_config

SECONDS = 200


def main(file: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    os.environ.update(ours.SETTINGS)
    config = small_config(file, train__max_epochs=60, train__patience=60, train__batch=3)
    prepared(config, folder / "calm", "train")
    workers.RESIZE_SECONDS = 1.0
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    os.environ["RAY_ADDRESS"] = cluster.address
    try:
        run = prepared(config, folder / "grown")
        ours.ensure()
        with ThreadPoolExecutor(1) as pool:
            training = pool.submit(run_stages, with_values(config, {"train.workers": (1, 2)}), run, ["train"])
            # Ray starts nodes from the main thread alone.
            join_after_the_first_checkpoint(cluster, folder / "grown")
            training.result()
    finally:
        ray.shutdown()
        cluster.shutdown()


def join_after_the_first_checkpoint(cluster: Cluster, run: Path) -> None:
    """Add a node of one CPU, and have Ray see it now: by itself it looks every 20 seconds."""
    deadline = time.monotonic() + SECONDS
    while not list(run.glob(".work/train-*/checkpoints/train/checkpoint_*/training.json")):
        assert time.monotonic() < deadline, "no checkpoint came"
        time.sleep(0.05)
    cluster.add_node(num_cpus=1)
    ray.get(get_or_create_autoscaling_coordinator().get_reserved_resources.remote("none", recompute=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
