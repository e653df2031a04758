"""A policy's files as bytes, to hand to processes on other machines. Hashes are checked when they are read again."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

from lstm_ray.errors import InputError
from lstm_ray.model.policy import OPTIONAL, POLICY, WEIGHTS, Policy
from lstm_ray.run_dir import RunDir

PLACES = ("policy", "evaluate/policy", "tune/policy", "plan/policy", "train/policy")
"""Where a run may hold a policy, the furthest along first."""
Packed = dict[str, bytes]
"""File name to content."""


def pack(folder: Path) -> Packed:
    """The files of a saved policy. Raises InputError where one is missing."""
    try:
        held = [name for name in OPTIONAL if (folder / name).exists()]
        return {name: (folder / name).read_bytes() for name in (POLICY, WEIGHTS, *held)}
    except OSError as error:
        raise InputError(f"'{folder}' holds no policy: {error.strerror} '{error.filename}'") from None


def unpack(files: Mapping[str, bytes]) -> Policy:
    """The policy in packed files. Raises InputError where they were altered."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        return Policy.load(folder)


def versions(files: Mapping[str, bytes]) -> dict[str, str]:
    """The packages that the policy was saved with."""
    found: dict[str, str] = json.loads(files[POLICY])["versions"]
    return found


def find(source: str | Path) -> Packed:
    """The policy of a run directory (its bundle, or the furthest stage that left one) or of a folder that is one.

    Raises InputError where there is none.
    """
    run = RunDir(source)
    if run.exists(POLICY):
        return _read(run, "")
    for place in PLACES:
        if run.exists(f"{place}/{POLICY}"):
            return _read(run, f"{place}/")
    raise InputError(f"'{source}' holds no policy; name a run directory where 'train' has run, or a policy's folder")


def _read(run: RunDir, place: str) -> Packed:
    held = [name for name in OPTIONAL if run.exists(f"{place}{name}")]
    return {name: run.read_bytes(f"{place}{name}") for name in (POLICY, WEIGHTS, *held)}
