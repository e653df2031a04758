"""A run directory's stages without a series, so that what still stands of them hangs together. Knows no server.

The prepared table stays and holds the other series; what later stages made of it is out of date from then on, and the next run
makes it again without the series, also where the source still holds it. Killed half-way, the table is out of date too, and is
made again from the source; forgetting once more finishes it.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from lstm_ray.data.preparing.append import MANIFEST, WHO
from lstm_ray.data.preparing.segments import SEGMENT
from lstm_ray.data.store import FILE, FILE_ROW, INDEX, NUM_STEPS
from lstm_ray.data.timeline.grid import SERIES
from lstm_ray.forget.files import UNFINISHED, Name, json_without, mentions, replaced, table_without, text_without
from lstm_ray.lifecycle import STAGES
from lstm_ray.model.stored import POLICY
from lstm_ray.registry.folder import BEFORE, REGISTRY
from lstm_ray.report.page import PAGE, write_report
from lstm_ray.run_dir import REPORT, RunDir

RETRAIN, WORK, STREAMS = "retrain", ".work", "streams"
STALE = "a series was forgotten"
"""In place of the fingerprint of a stage that is out of date."""
TEXT = (".md", ".csv", ".txt", ".jsonl", ".log")


@dataclass
class Removed:
    """What was taken out of one run directory."""

    held: bool = False
    """Its prepared table had the series: policies trained there learned from it."""
    rows: dict[str, int] = field(default_factory=dict)
    """Of tables, by file; of text, lines."""
    entries: list[str] = field(default_factory=list)
    """Files of JSON that told of it."""
    whole: list[str] = field(default_factory=list)
    """Folders and files that were removed whole."""
    alone: bool = False
    """The prepared table held no other series."""


def without(folder: Path, name: Name, keys: list[str], known: bool) -> Removed:
    """Take a series out of a run directory's stages; registry, streams and the runs of retraining are left to the caller.

    Args:
        keys: columns that together name a series in tables of the run's own.
        known: the series is, or was; else only tables are looked through, for in text it may be any word.
    """
    found = Removed(held=holds(folder, name.series))
    fingerprints = _made_stale(folder) if found.held else {}
    for path in (folder / WORK, folder / "explore"):
        # What exploring found of all series together, extremes say, is of this one too; work that was killed holds anything.
        if path.is_dir() and (found.held or path.name == WORK):
            _remove(path, found, folder)
    for file in _files(folder):
        _one(file, name, keys, found, folder, known)
    if found.held:
        found.alone = not _put_in_order(folder)
        if not found.alone and "preprocess" in fingerprints:
            _set_fingerprint(folder / "preprocess" / REPORT, fingerprints["preprocess"])
    if (folder / PAGE).exists() and (found.rows or found.entries or found.whole):
        write_report(RunDir(folder))
        found.entries.append(PAGE)
    return found


def holds(folder: Path, series: str) -> bool:
    """Whether a run's prepared table has the series, or one is being forgotten in it: a killed process did not finish."""
    report = folder / "preprocess" / REPORT
    unfinished = report.exists() and json.loads(report.read_bytes())["fingerprint"] == STALE
    return unfinished or series in names(folder)


def names(folder: Path) -> list[str]:
    """The series of a run's prepared table; none where there is no table."""
    table = folder / "preprocess" / WHO
    return pl.read_parquet(table, columns=[SERIES])[SERIES].to_list() if table.exists() else []


def _files(folder: Path) -> list[Path]:
    found = []
    for at, folders, files in os.walk(folder):
        if Path(at) == folder:
            folders[:] = [name for name in folders if name not in (REGISTRY, BEFORE, STREAMS, WORK)]
        elif Path(at) == folder / RETRAIN:
            folders.clear()
        if POLICY in files:
            # A policy is whole or it is none: it is flagged.
            folders.clear()
            continue
        found += [Path(at) / name for name in files]
    # Where rows lie in the segments' files is put in order after these.
    return sorted(found)


def _one(file: Path, series: Name, keys: list[str], found: Removed, folder: Path, known: bool) -> None:
    name = file.relative_to(folder).as_posix()
    if name.endswith(UNFINISHED):
        file.unlink()
    elif file.suffix == ".parquet":
        if gone := table_without(file, series.series, keys):
            found.rows[name] = gone
    elif not known:
        return
    elif file.suffix == ".json":
        if json_without(file, series):
            found.entries.append(name)
    elif file.suffix in TEXT:
        if gone := text_without(file, series):
            found.rows[name] = gone
    elif file.suffix == ".html" and name != PAGE and mentions(file, series.series):
        # A page of what another command found; that makes it again.
        file.unlink()
        found.whole.append(name)


def _remove(path: Path, found: Removed, folder: Path) -> None:
    """A folder, but for a lock in it that this process may hold."""
    inside = [one for one in path.iterdir() if one.name != "lock"]
    for one in inside:
        shutil.rmtree(one) if one.is_dir() else one.unlink()
    if not any(path.iterdir()):
        path.rmdir()
    if inside:
        found.whole.append(f"{path.relative_to(folder).as_posix()}/")


def _made_stale(folder: Path) -> dict[str, str]:
    """Every stage that read the table is out of date, the table too until it is whole again; the fingerprints before."""
    before = {}
    for stage in STAGES:
        file = folder / stage / REPORT
        if stage != "environment" and file.exists():
            before[stage] = json.loads(file.read_bytes())["fingerprint"]
            _set_fingerprint(file, STALE)
    return before


def _set_fingerprint(file: Path, fingerprint: str) -> None:
    report = json.loads(file.read_bytes())
    _write(file, {**report, "fingerprint": fingerprint})


def _put_in_order(folder: Path) -> int:
    """Where the segments lie, now that rows are gone from their files, and how much there is. How many segments are left."""
    at = folder / "preprocess"
    index = pl.read_parquet(at / INDEX)
    begin = (pl.col(NUM_STEPS).cum_sum() - pl.col(NUM_STEPS)).over(FILE, order_by=FILE_ROW)
    with replaced(at / INDEX) as new:
        index.with_columns(begin.cast(index.schema[FILE_ROW]).alias(FILE_ROW)).write_parquet(new)
    rows, segments = int(pl.read_parquet(at / WHO)["rows"].sum()), index.select(SERIES, SEGMENT).n_unique()
    report = json.loads((at / REPORT).read_bytes())
    words = f"{report['summary']} A series was forgotten since; {segments:,} segments are left."
    told = {"num_rows": rows, "num_segments": segments, "summary": words}
    _write(at / REPORT, report | {key: value for key, value in told.items() if key in report})
    if (at / MANIFEST).exists():
        _write(at / MANIFEST, json.loads((at / MANIFEST).read_bytes()) | {"rows": rows})
    return segments


def _write(file: Path, value: object) -> None:
    with replaced(file) as new:
        new.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False), encoding="utf-8")
