"""Checks of machines: each alone, and all of a cluster against the one that asks. Knows no Ray."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement

from lstm_ray.doctor.checks import Check, well
from lstm_ray.doctor.machine import Disk, Machine

LEAST_MEMORY_BYTES, LEAST_DISK_BYTES, LEAST_OBJECT_STORE_BYTES = 2_000_000_000, 1_000_000_000, 75_000_000
LEAST_DISK_SHARE = 0.05
"""Ray refuses to spill objects to a disk that is fuller than 95 %."""
LEAST_OPEN_FILES, WANTED_OPEN_FILES = 1024, 65_536
MOST_SKEW_SECONDS, BAD_SKEW_SECONDS = 1.0, 300.0
"""From 5 minutes on an object store refuses signed requests; from a second on leases and logs mislead."""


def judged(machine: Machine, where: str = "") -> list[Check]:
    """All that is told of one machine alone."""
    found = [packages(machine, where), room(machine.temporary, "temporary files", where), memory(machine, where)]
    found += [cpus(machine, where), open_files(machine, where)]
    return found if machine.shared_memory is None else [*found, shared_memory(machine, where)]


def packages(machine: Machine, where: str = "") -> Check:
    """Is what is installed what this package asks for?"""
    told = ", ".join(f"{name} {found}" for name, found in machine.versions.items())
    text = f"Python {machine.python}; {told}"
    for wanted in map(Requirement, _required()):
        found = machine.versions.get(wanted.name.lower())
        if found and not wanted.specifier.contains(found, prereleases=True):
            advice = f"pip install '{wanted.name}{wanted.specifier}'"
            return Check("packages", "wrong", f"{wanted.name} {found} is installed", advice, where)
    if "ray" not in machine.versions:
        return Check("packages", "wrong", f"Ray is missing ({text})", "pip install 'lstm-ray[train]'", where)
    if "polars" not in machine.versions:
        return Check(
            "packages", "warning", f"enough to serve, not to train ({text})", "pip install 'lstm-ray[train]'", where
        )
    return well("packages", text, where)


def _required() -> list[str]:
    try:
        return requires("lstm-ray") or []
    except PackageNotFoundError:  # it runs from a folder, as a job's working directory is one
        return []


def environment() -> Check:
    """Does the Python that runs this belong to the environment that the shell has active?"""
    active = os.environ.get("VIRTUAL_ENV")
    if active and Path(active).resolve() != Path(sys.prefix).resolve():
        text = f"this Python is of '{sys.prefix}', and the active environment is '{active}'"
        advice = (
            f"'{active}/bin/python -m pip install lstm-ray[train]', or 'deactivate': jobs start the shell's `python`"
        )
        return Check("environment", "warning", text, advice)
    return well("environment", f"{platform.python_implementation()} of '{sys.prefix}'")


def memory(machine: Machine, where: str = "") -> Check:
    allowed = machine.allowed_memory_bytes
    limit = f" of {_gb(machine.memory_bytes)}" if allowed < machine.memory_bytes else ""
    text = f"{_gb(allowed)}{limit}, {_gb(machine.swap_bytes)} of swap"
    if allowed < LEAST_MEMORY_BYTES:
        return Check("memory", "warning", text, f"give it {_gb(LEAST_MEMORY_BYTES)} or more", where)
    return well("memory", text, where)


def cpus(machine: Machine, where: str = "") -> Check:
    """Ray counts a machine's CPUs; a quota of less would have tasks fight for them."""
    if machine.allowed_cpus < machine.cpus:
        allowed = max(1, int(machine.allowed_cpus))
        text = f"{machine.allowed_cpus:g} of {machine.cpus} may be used"
        return Check("CPUs", "warning", text, f"start its node with `ray start --num-cpus={allowed}`", where)
    return well("CPUs", f"{machine.cpus}", where)


def room(disk: Disk, what: str, where: str = "") -> Check:
    """Is there room on the disk of a folder?"""
    text = f"{_gb(disk.free_bytes)} of {_gb(disk.total_bytes)} free in '{disk.path}'"
    advice = f"make room there, or put {what} on a larger disk"
    if disk.free_bytes < LEAST_DISK_BYTES:
        return Check(f"disk of {what}", "wrong", text, advice, where)
    if disk.free_bytes < LEAST_DISK_SHARE * disk.total_bytes:
        return Check(f"disk of {what}", "warning", f"{text}: Ray spills nothing to it", advice, where)
    return well(f"disk of {what}", text, where)


def shared_memory(machine: Machine, where: str = "") -> Check:
    """Ray keeps objects in shared memory, and on a disk, ten times as slow, where there is too little of it."""
    found = machine.shared_memory
    assert found is not None, "told only where there is some"
    text = f"{_gb(found.total_bytes)} at {found.path}"
    wanted = int(0.3 * machine.allowed_memory_bytes)
    if found.total_bytes < min(wanted, 200 * 10**9) * 0.95:
        advice = (
            f"give it {_gb(wanted)} (docker --shm-size, an emptyDir of medium Memory), or lower --object-store-memory"
        )
        return Check("shared memory", "warning", text, advice, where)
    return well("shared memory", text, where)


def open_files(machine: Machine, where: str = "") -> Check:
    text = f"{machine.open_files:,} at once"
    advice = f"`ulimit -n {WANTED_OPEN_FILES}` before `ray start`"
    if machine.open_files < LEAST_OPEN_FILES:
        return Check("open files", "wrong", text, advice, where)
    if machine.open_files < 4 * LEAST_OPEN_FILES:
        return Check("open files", "warning", text, advice, where)
    return well("open files", text, where)


def same_versions(here: Machine, nodes: Mapping[str, Machine]) -> list[Check]:
    """Is what runs on each node what runs here? What is sent from one to the other is pickled."""
    found = []
    for where, node in nodes.items():
        ours, theirs = {"Python": here.python} | here.versions, {"Python": node.python} | node.versions
        other = [name for name in ours if name in theirs and theirs[name] != ours[name]]
        missing = [name for name in ours if name not in theirs]
        if other or missing:
            words = [f"{name} {theirs[name]} where this machine has {ours[name]}" for name in other]
            words += [f"no {name}" for name in missing]
            advice = f"install the same there: {' '.join(f'{name}=={ours[name]}' for name in (*other, *missing))}"
            found.append(Check("same versions", "wrong", ", ".join(words), advice, where))
    return found or [well("same versions", f"those of this machine on every node, {len(nodes)} in all")]


def clock(skew_seconds: float, of: str) -> Check:
    """How far another clock is from this machine's."""
    way = "ahead of" if skew_seconds > 0 else "behind"
    text = f"{abs(skew_seconds):.1f} s {way} this machine's" if skew_seconds else "as this machine's"
    advice = "let a time service (chrony, systemd-timesyncd) set both"
    if abs(skew_seconds) >= BAD_SKEW_SECONDS:
        return Check("clock", "wrong", text, advice, of)
    if abs(skew_seconds) > MOST_SKEW_SECONDS:
        return Check("clock", "warning", text, advice, of)
    return well("clock", text, of)


def skew_seconds(before: float, there: float, after: float) -> float:
    """How far a clock surely is from one that showed ``before`` and ``after`` around its showing ``there``."""
    if there < before:
        return there - before
    return max(0.0, there - after)


def _gb(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:.3g} GB"
