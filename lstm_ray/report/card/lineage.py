"""What a policy was made from, so that any answer leads back to it: data by hash, configuration, code, seed, parents.

Knows the run directory and its data's files; reads no rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pyarrow import fs

from lstm_ray import __version__
from lstm_ray.config import Config, parse
from lstm_ray.data.source.files import locate
from lstm_ray.data.source.places import File
from lstm_ray.errors import InputError
from lstm_ray.registry.lineage import sha256_of
from lstm_ray.run_dir import RunDir

CONFIG, KEPT, TRAINED = "config.yaml", "lineage.json", "train/report.json"
MOST_FILES = 1_000
"""Files that are listed one by one; more are told by one hash of their hashes."""


def lineage_of(run: RunDir) -> dict[str, Any]:
    """Of the policy that a run has trained: ``data``, ``config``, ``code``, ``seed``, ``trained`` and ``parents``; empty where
    the run holds no configuration.

    Files on this machine are hashed whole, once for each size and time of change; of others their version is told.
    """
    if not run.exists(CONFIG):
        return {}
    told = run.read_bytes(CONFIG)
    config = parse(yaml.safe_load(told))
    files, missing = _files(config)
    before: dict[str, Any] = run.read_json(KEPT) if run.exists(KEPT) else {}
    kept = dict(before)
    lineage: dict[str, Any] = {
        "data": _hashed(files, kept),
        "config": hashlib.sha256(told).hexdigest(),
        "code": _code(),
        "seed": config.seed,
        "trained": _time(run, kept),
        "parents": _parents(run),
    }
    if kept != before:
        run.write_json(KEPT, kept)
    return lineage | ({"missing": missing} if missing else {})


def _files(config: Config) -> tuple[list[File], str]:
    """Of the source, and of its second table; and why they cannot be told, where they cannot."""
    sources = [config.data.source, *([config.data.static_source] if config.data.static_source else [])]
    try:
        return [f for one in sources for f in locate(config.data.model_copy(update={"source": one}))], ""
    except InputError as error:
        return [], str(error)


def _hashed(files: Sequence[File], kept: dict[str, Any]) -> list[dict[str, Any]]:
    """Each file's name, bytes and hash. What was hashed before, and has not changed since, is not read again."""
    told: list[dict[str, Any]] = []
    known, kept["files"] = kept.get("files", {}), {}
    for file in files:
        if not isinstance(file.filesystem, fs.LocalFileSystem):
            told.append({"file": file.name, "bytes": file.size, "sha256": None, "version": str(file.version)})
            continue
        before = known.get(file.path)
        if before is None or before[:2] != [file.size, file.version]:
            before = [file.size, file.version, sha256_of(file.path)]
        kept["files"][file.path] = before
        where = {} if file.name == file.path else {"path": file.path}
        told.append({"file": file.name, "bytes": file.size, "sha256": before[2], **where})
    if len(told) <= MOST_FILES:
        return told
    whole = hashlib.sha256("".join(str(one["sha256"] or one["version"]) for one in told).encode())
    size = sum(one["bytes"] for one in told)
    return [{"file": f"{len(told)} files, the hash of their hashes", "bytes": size, "sha256": whole.hexdigest()}]


@cache
def _code() -> dict[str, Any]:
    """The package as it runs: a hash of its source files tells what a commit alone would not, that it was edited."""
    package = Path(__file__).resolve().parents[2]
    content = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        content.update(f"{file.relative_to(package)}\0".encode() + file.read_bytes())
    return {"version": __version__, "sha256": content.hexdigest(), "commit": _commit(package.parent)}


def _commit(folder: Path) -> str | None:
    """That a checkout stands at; None where it is none, or one that is not told by plain files."""
    git = folder / ".git"
    try:
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        if (git / name).exists():
            return (git / name).read_text(encoding="utf-8").strip()
        return next((line.split()[0] for line in _packed(git) if line.endswith(f" {name}")), None)
    except (OSError, UnicodeDecodeError):
        return None


def _packed(git: Path) -> Iterator[str]:
    yield from (git / "packed-refs").read_text(encoding="utf-8").splitlines()


def _time(run: RunDir, kept: dict[str, Any]) -> str | None:
    """When training ended, UTC, as its report's file first told: a copy of the run tells the same. None on a place that does
    not tell."""
    report = run.report("train")
    if report is None or run.local is None:
        return None
    if kept.get("trained", [None])[0] != report.fingerprint:
        ended = datetime.fromtimestamp((run.local / TRAINED).stat().st_mtime, UTC)
        kept["trained"] = [report.fingerprint, ended.isoformat(timespec="seconds")]
    time: str = kept["trained"][1]
    return time


def _parents(run: RunDir) -> list[str]:
    """Versions of the policies whose weights training began with."""
    report = run.report("train")
    began = (report.model_extra or {}).get("started_from") if report is not None else None
    return [began["version"]] if began else []
