"""Joining a Ray cluster, or starting one on this machine. Knows nothing of the work done on it."""

from __future__ import annotations

import logging
import os

import ray
import ray.data

QUIET = {
    # Ray 2.60 warns that it will stop hiding GPUs from tasks that ask for none; nothing here relies on either.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
    # A worker group is polled this often; the default of 2 s is most of a short training's end.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
}


def ensure() -> None:
    """Connect to the cluster that RAY_ADDRESS names, or start one on this machine's loopback.

    A cluster started here ends with this process.
    """
    if ray.is_initialized():
        return
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    ray.init(
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.WARNING,
        runtime_env={"env_vars": QUIET},
    )
    # The pipeline reports through its own progress; Ray's account of plans and sinks goes to Ray's log files.
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False


def num_cpus() -> int:
    """CPUs of the whole cluster."""
    return int(ray.cluster_resources().get("CPU", 1))
