"""Jobs of given sizes on the cluster that RAY_ADDRESS names, timed. To be called in a process of its own, for it joins one."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from lstm_ray.benchmark import fresh, made_up
from lstm_ray.benchmark.batches import wrong
from lstm_ray.benchmark.preparing import tree
from lstm_ray.on_ray import cluster
from lstm_ray.on_ray.forecast import forecast_files
from lstm_ray.on_ray.train import train_with_ray

WINDOW, ORIGINS = {"history": 96, "horizon": 96, "patch": 1}, 96
WARM_UP_EPOCHS = 1
LOOK_SECONDS = 0.1


def trainings(asked: list[dict[str, int]]) -> list[dict[str, float]]:
    """One training for each entry, one after another: seconds in all, of a usual epoch, and windows a second in it.

    Args:
        asked: ``workers``, ``batch`` (of all together), ``num_windows`` (of an epoch) and ``epochs`` of each.
    """
    cluster.ensure()
    found = []
    for one in asked:
        segments, parts = made_up.series(one["num_windows"], WINDOW)
        config = made_up.config(
            WINDOW, origins=ORIGINS, batch=one["batch"], max_epochs=one["epochs"], workers=one["workers"]
        )
        with tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter()
            records = train_with_ray(config, segments, parts, Path(folder)).records
            seconds = time.perf_counter() - begun
        speed = median(record.windows_per_second for record in records[WARM_UP_EPOCHS:])
        found.append({"seconds": seconds, "epoch_seconds": one["num_windows"] / speed, "windows_per_second": speed})
    return found


def forecasts(policy: str, tables: list[str]) -> list[dict[str, float]]:
    """Batch forecasts of each table: seconds, those that the driver itself computed, and what is wrong with the rows."""
    cluster.ensure()
    found = []
    for table in tables:
        with tempfile.TemporaryDirectory() as folder:
            begun, own = time.perf_counter(), time.process_time()
            told = forecast_files(policy, table, folder)
            seconds, driver = time.perf_counter() - begun, time.process_time() - own
            found.append(
                {"seconds": seconds, "driver_seconds": driver, "wrong": wrong(Path(folder), told["num_series"])}
            )
    return found


def prepared(table: str, out: str) -> dict[str, float]:
    """The stage preprocess by Ray's tasks: seconds, and memory of this driver and of the object stores."""
    from lstm_ray.config import parse
    from lstm_ray.lifecycle import run_stages
    from lstm_ray.run_dir import RunDir

    cluster.ensure()
    with _memory() as found:
        run_stages(parse(tree(table, engine="ray")), RunDir(out), ["preprocess"])
    return found


def forecast(policy: str, table: str) -> dict[str, float]:
    """Batch forecasts of a table: seconds, and memory of this driver and of the object stores."""
    cluster.ensure()
    with tempfile.TemporaryDirectory() as folder, _memory() as found:
        forecast_files(policy, table, folder)
    return found


@contextmanager
def _memory() -> Iterator[dict[str, Any]]:
    """Seconds of the block, this process's peak, and how far the machine's shared memory, in which object stores lie, rose."""
    found: dict[str, Any] = {}
    before = most = _shared_bytes()
    over = threading.Event()

    def watch() -> None:
        nonlocal most
        while not over.wait(LOOK_SECONDS):
            most = max(most, _shared_bytes())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    begun = time.perf_counter()
    try:
        yield found
    finally:
        over.set()
        watcher.join()
    found |= {"seconds": time.perf_counter() - begun, "driver_bytes": fresh.peak_bytes(), "store_bytes": most - before}


def _shared_bytes() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("Shmem:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/meminfo tells no Shmem")
