"""The first stage: is the configuration right for this data, and where does it run. Opens headers alone, but for a hash."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import yaml
from pyarrow import fs

from lstm_ray import __version__
from lstm_ray.config import Config
from lstm_ray.data.source.files import also_read, findings, header, locate
from lstm_ray.data.source.places import File
from lstm_ray.run_dir import Finding, Report, RunDir, StageDir
from lstm_ray.sections.resources import Stage, unused_words

PACKAGES = ("ray", "torch", "polars", "pyarrow", "numpy", "pydantic", "safetensors", "scikit-learn", "statsmodels")
MOST_HASHED = 256_000_000
"""Bytes of data that are read whole to be hashed, at most: half a second."""


def environment(config: Config, run: RunDir, work: StageDir) -> Report:
    """Check the config against the data's header; keep the resolved config and the environment with the run."""
    also = also_read(config)
    columns = header(config.data, also)
    files = locate(config.data)
    size = sum(file.size for file in files)
    fetched = sum("://" in file.name for file in files)
    unused = [column for column in columns if column not in {*config.data.columns, *also}]
    facts = {
        "versions": {"python": platform.python_version(), "lstm_ray": __version__} | _versions(),
        "hardware": {
            "machine": platform.machine(),
            "system": platform.platform(),
            "cpus": os.cpu_count(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        },
        "seed": config.seed,
        "data": _fingerprint(files),
    }
    run.write_bytes("config.yaml", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).encode())
    run.write_json("environment.json", facts)
    found = [
        Finding(
            severity="info",
            text=f"The source holds {len(columns)} columns in {size / 1e6:.1f} MB{', downloaded' * bool(fetched)}.",
        )
    ]
    if unused:
        found.append(Finding(severity="info", text=f"Columns without a role are not read: {', '.join(unused)}."))
    found += [Finding(severity="warning", text=words) for words in unused_words(config.resources, _in_process(config))]
    what = config.data.label or ", ".join(config.data.target)
    return Report(
        stage="environment",
        summary=f"Task {config.task} of {what} with seed {config.seed}; the config agrees with the data's header.",
        findings=[*found, *findings(config.data, also)],
        environment=facts,
    )


def _in_process(config: Config) -> dict[Stage, str]:
    """Stages that ask a cluster for nothing, and what says so."""
    found: dict[Stage, str] = {}
    if config.preprocess.engine == "polars":
        found["preprocess"] = "preprocess.engine: polars"
    if not config.train.workers:
        found["train"] = "train.workers: 0"
    if not config.evaluate.workers:
        found["evaluate"] = "evaluate.workers: 0"
    return found


def _fingerprint(files: Sequence[File]) -> dict[str, int | str | None]:
    """What another copy of the data is known by: its files, bytes and, of local data that are not large, their hash, as
    ``cat FILES | sha256sum`` tells it."""
    size = sum(file.size for file in files)
    found: dict[str, int | str | None] = {"files": len(files), "bytes": size, "sha256": None}
    if size <= MOST_HASHED and all(isinstance(file.filesystem, fs.LocalFileSystem) for file in files):
        content = hashlib.sha256()
        for file in files:
            content.update(Path(file.path).read_bytes())
        found["sha256"] = content.hexdigest()
    return found


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
