"""A policy's files as bytes, to hand to processes on other machines. Hashes are checked when they are read again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from lstm_ray.errors import InputError
from lstm_ray.model import stored
from lstm_ray.model.policy import Policy
from lstm_ray.model.stored import CARD, POLICY
from lstm_ray.registry.policies import chosen

PLACES = ("policy", "evaluate/policy", "tune/policy", "plan/policy", "train/policy")
"""Where a run may hold a policy, the furthest along first."""
Packed = dict[str, bytes]
"""File name to content: ``policy.json`` and all that it names, its smoke input and model card too."""


def pack(folder: Path) -> Packed:
    """The files of a saved policy. Raises InputError where one is missing, altered or no policy's."""
    return _held(stored.read(folder), folder)


def unpack(files: Mapping[str, bytes]) -> Policy:
    """The policy in packed files. Raises InputError where they were altered."""
    return Policy.of(files)


def card(files: Mapping[str, bytes]) -> str:
    """The model card in packed files, Markdown; empty where they have none."""
    return files.get(CARD, b"").decode(errors="replace")


def versions(files: Mapping[str, bytes]) -> dict[str, str]:
    """The packages that the policy was saved with."""
    found: dict[str, str] = json.loads(files[POLICY])["versions"]
    return found


def find(source: str | Path) -> Packed:
    """The policy of a run directory (its registry's champion; its bundle, or the furthest stage that left one, where that is
    new to the registry or there is none) or of a folder that is one.

    Raises InputError where there is none, or it was altered.
    """
    if "://" not in str(source):
        folder = Path(source).expanduser()
        if (folder / POLICY).exists():
            return pack(folder)
        own = next((pack(folder / place) for place in PLACES if (folder / place / POLICY).exists()), None)
        if (champion := chosen(folder, stored.version(own) if own else None)) is not None:
            return pack(champion)
        if own is not None:
            return own
    else:
        # What opens remote places is no part of a serving image.
        from lstm_ray.run_dir import RunDir

        run = RunDir(source)
        for at in ("", *PLACES):
            if run.exists(f"{at}/{POLICY}".lstrip("/")):
                # As one version holds them: the policy may be replaced while it is read.
                with run.local_copy(at) as copy:
                    return _held(stored.read(copy), run.uri)
        source = run.uri
    raise InputError(f"'{source}' holds no policy; name a run directory where 'train' has run, or a policy's folder")


def _held(files: Packed, where: str | Path) -> Packed:
    stored.opened(files, str(where))
    return files
