"""From a policy back to what it was made from: through its parents to data, configuration and code. Knows no torch, no Ray."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lstm_ray.errors import InputError
from lstm_ray.model.stored import POLICY
from lstm_ray.registry.account import read
from lstm_ray.registry.folder import at
from lstm_ray.registry.policies import meant

LINEAGE = "lineage"
"""Of a policy's facts."""
SAME, CHANGED, GONE, ELSEWHERE = "same", "changed", "gone", "not on this machine"
CHUNK_BYTES = 1 << 20


@dataclass
class Ancestor:
    """A policy and what it was made from."""

    version: str
    name: str = ""
    lineage: Mapping[str, Any] | None = None
    """None: it is not kept here any more, or was made by a version that told none."""
    checked: dict[str, str] = field(default_factory=dict)
    """State of each file of its data, as it is now."""
    parents: list[Ancestor] = field(default_factory=list)


def ancestry(run: str | Path, version: str = "", check: bool = True) -> Ancestor:
    """A policy's tree.

    Args:
        run: a run directory on this machine, or a policy's folder.
        version: how it begins; empty: the champion, or the run's own policy where nothing was ever served.
        check: read the files of its data, as far as they are still there, and hold them against what was learned from.

    Raises InputError where there is no such policy.
    """
    places = dict(_places(Path(run).expanduser()))
    account = read(at(run))
    if version and version not in places:
        kept = account.policies if account is not None else []
        version = next((known for known in places if len(version) >= 6 and known.startswith(version)), "") or meant(
            version, kept
        )
    if not version:
        version = account.lineup.champion if account is not None else next(iter(places), "")
    if not version:
        raise InputError(f"'{run}' holds no policy; name a run directory where 'deploy' has run, or a policy's folder")
    return _ancestor(version, places, check, {}, set())


def lines(ancestor: Ancestor, indent: str = "") -> Iterator[str]:
    """The tree for people."""
    lineage = ancestor.lineage
    yield f"{indent}policy  {ancestor.version[:12]} {ancestor.name}".rstrip()
    inner = f"{indent}  "
    if lineage is None:
        yield f"{inner}what it was made from is not known here: it is kept here no more, or was bundled before that was told"
        return
    code = lineage["code"]
    commit = f", commit {code['commit'][:12]}" if code.get("commit") else ""
    yield f"{inner}trained {lineage['trained'] or 'at a time not told'}, seed {lineage['seed']}"
    yield f"{inner}config  {lineage['config'][:12]}"
    yield f"{inner}code    lstm-ray {code['version']}, source {code['sha256'][:12]}{commit}"
    for one in lineage["data"]:
        state = f"  {ancestor.checked[one['file']]}" if one["file"] in ancestor.checked else ""
        told = (one["sha256"] or f"version {one.get('version')}")[:20]
        yield f"{inner}data    {one['file']} ({one['bytes']:,} bytes, {told[:12] if one['sha256'] else told}){state}"
    if lineage.get("missing"):
        yield f"{inner}data    was not told: {lineage['missing']}"
    for parent in ancestor.parents:
        yield f"{inner}started from"
        yield from lines(parent, f"{inner}  ")


def sha256_of(file: str | Path) -> str:
    """Read piece by piece, whatever its size."""
    content = hashlib.sha256()
    with Path(file).open("rb") as stream:
        while piece := stream.read(CHUNK_BYTES):
            content.update(piece)
    return content.hexdigest()


def _places(run: Path) -> Iterator[tuple[str, Path]]:
    """Every policy of a run, by version: the bundle's, those of the registry, those of its challengers."""
    for pattern in (
        "",
        "policy",
        "registry/*",
        "served/*",
        "retrain/*/policy",
        "retrain/*/champion",
        "evaluate/policy",
    ):
        for folder in sorted(run.glob(pattern)) if pattern else [run]:
            if (folder / POLICY).is_file():
                yield str(_told(folder)["version"]), folder
    if (run / POLICY).is_file() and (run.parent / "config.yaml").exists():
        yield from _places(run.parent)


def _told(folder: Path) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json.loads((folder / POLICY).read_bytes())
        return {"version": told["version"], "config": told["config"], "facts": told["facts"]}
    except (OSError, ValueError, LookupError, TypeError):
        raise InputError(f"'{folder / POLICY}' is no policy's; take a fresh copy, or remove its folder") from None


def _ancestor(
    version: str, places: Mapping[str, Path], check: bool, hashed: dict[str, str], above: set[str]
) -> Ancestor:
    if version not in places or version in above:
        return Ancestor(version)
    told = _told(places[version])
    found = Ancestor(version, str(told["config"].get("name", "")), told["facts"].get(LINEAGE) or None)
    if found.lineage is not None:
        if check:
            found.checked = {one["file"]: _state(one, hashed) for one in found.lineage["data"]}
        found.parents = [
            _ancestor(parent, places, check, hashed, above | {version}) for parent in found.lineage["parents"]
        ]
    return found


def _state(one: Mapping[str, Any], hashed: dict[str, str]) -> str:
    """Of a file as it is now."""
    path = Path(one.get("path", one["file"]))
    if one["sha256"] is None:
        return ELSEWHERE
    if not path.is_file():
        return GONE
    if path.stat().st_size != one["bytes"]:
        return CHANGED
    if str(path) not in hashed:
        hashed[str(path)] = sha256_of(path)
    return SAME if hashed[str(path)] == one["sha256"] else CHANGED
