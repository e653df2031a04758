"""What one machine is and has: read here, or in a task on a cluster's node, and sent. Judges nothing."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import socket
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("lstm-ray", "ray", "torch", "numpy", "polars", "pyarrow", "pydantic", "safetensors")
"""Whose version has to be the same wherever objects of theirs are sent."""
CGROUP, SHARED_MEMORY = Path("/sys/fs/cgroup"), Path("/dev/shm")
UNLIMITED = 1 << 60
"""Bytes from which a limit of a control group is none."""


@dataclass(frozen=True)
class Disk:
    path: str
    free_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class Machine:
    """One machine as a process on it sees it."""

    name: str
    python: str
    executable: str
    package: str
    """Folder that lstm_ray was imported from."""
    versions: dict[str, str]
    """Of those packages that are installed."""
    cpus: int
    allowed_cpus: float
    """That the control group and the affinity leave."""
    memory_bytes: int
    allowed_memory_bytes: int
    """That the control group leaves."""
    swap_bytes: int
    shared_memory: Disk | None
    temporary: Disk
    open_files: int
    """That this process may have at once."""


def this_machine(temporary: str = "") -> Machine:
    """The machine that this process runs on.

    Args:
        temporary: folder whose disk is told; empty: of this process's temporary files.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(
        name=socket.gethostname(),
        python=platform.python_version(),
        executable=sys.executable,
        package=str(Path(__file__).parents[1]),
        versions=_versions(),
        cpus=os.cpu_count() or 1,
        allowed_cpus=_allowed_cpus(CGROUP),
        memory_bytes=memory,
        allowed_memory_bytes=min(memory, _allowed_memory(CGROUP)),
        swap_bytes=_swap_bytes(Path("/proc/meminfo")),
        shared_memory=disk(SHARED_MEMORY) if SHARED_MEMORY.is_dir() else None,
        temporary=disk(temporary or os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()),
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    )


def disk(path: str | Path) -> Disk:
    """The disk of a folder, or of the nearest folder above it that is there."""
    place = Path(path).expanduser().absolute()
    while not place.exists():
        place = place.parent
    usage = shutil.disk_usage(place)
    return Disk(str(path), usage.free, usage.total)


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _allowed_cpus(cgroup: Path) -> float:
    affinity = float(len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else float(os.cpu_count() or 1)
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
        return min(affinity, int(quota) / int(period))
    except (OSError, ValueError):  # no control group, or "max"
        return affinity


def _allowed_memory(cgroup: Path) -> int:
    """By version 2 of control groups, or 1."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            return min(int((cgroup / name).read_text()), UNLIMITED)
        except (OSError, ValueError):
            continue
    return UNLIMITED


def _swap_bytes(meminfo: Path) -> int:
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("SwapTotal:")), 0)
