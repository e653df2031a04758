"""Cases of chaos: a table far larger than the object store, with room on the disk beside it and without."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lstm_ray.benchmark.chaos import checks
from lstm_ray.benchmark.chaos.outcome import Fault, LeftOut, Outcome, judged
from lstm_ray.benchmark.chaos.tables import ON_RAY, SERIES, num_blocks
from lstm_ray.benchmark.chaos.world import World
from lstm_ray.on_ray.nodes import Nodes, running

STORE_BYTES = 80_000_000
"""Of each node's object store: about the least that Ray starts with."""
DISK_BYTES = 20_000_000
"""Of the disk that fills up."""
ERROR_SECONDS = 180.0


def object_store(nodes: Nodes, folder: Path) -> Outcome:
    """The rows do not fit: Ray spills them to the disk."""
    world = World.at(folder, SERIES, by_time=True)
    calm, own = world.calm(nodes, "preprocess"), folder / "object-store"
    spilled = own / "spilled"
    spilled.mkdir(parents=True, exist_ok=True)
    with _small(spilled) as small, world.working(small, "preprocess", own / "run", ON_RAY) as work:
        work.until(lambda: any(path.is_file() for path in spilled.rglob("*")), "a file of spilled rows")
        fault = Fault.now()
        work.until(lambda: num_blocks(own / "run"), "a block")
        seconds = fault.seconds()
        work.ended()
        wrong = work.not_well() or checks.segments(own / "run", calm)
    result = "spilled to disk and prepared the first block; every row once, the scaler as undisturbed without Ray"
    return judged(f"object store of {STORE_BYTES // 1_000_000} MB full", result, seconds, wrong)


def spill_disk(nodes: Nodes, folder: Path) -> Outcome:
    """The disk beside the object store is full as well."""
    world, own = World.at(folder, SERIES, by_time=True), folder / "spill-disk"
    small_world = World.at(folder)
    run = small_world.before(nodes, "preprocess", own / "run")
    held = sorted(path.name for path in run.iterdir())
    with _disk(own / "disk") as disk, _small(disk) as small, world.working(small, "preprocess", run, ON_RAY) as work:
        work.until(lambda: _free_bytes(disk) < DISK_BYTES / 2, "the disk filling up")
        fault = Fault.now()
        work.ended(ERROR_SECONDS)
        seconds = fault.seconds()
        wrong = work.not_one_error("room")
    whole = small_world.calm(nodes, "preprocess")
    wrong += checks.segments(run, whole)
    wrong += [f"'{name}' is gone" for name in held if not (run / name).exists()]
    return judged("disk of spilled objects full", "one error; the run directory is as it was", seconds, wrong)


@contextmanager
def _small(spilled: Path) -> Iterator[Nodes]:
    """Two nodes with small object stores that spill to a folder."""
    with running(0) as nodes:
        for _ in range(2):
            nodes.add(1, more=[f"--object-store-memory={STORE_BYTES}", f"--object-spilling-directory={spilled}"])
        yield nodes


@contextmanager
def _disk(place: Path) -> Iterator[Path]:
    """A small disk of its own, in memory. Raises LeftOut where this user may not mount one."""
    place.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(place)], capture_output=True, text=True
    )
    if mounted.returncode:
        raise LeftOut(f"no small disk can be mounted, which needs root ({mounted.stderr.strip()})")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def _free_bytes(place: Path) -> int:
    found = os.statvfs(place)
    return found.f_bavail * found.f_frsize
