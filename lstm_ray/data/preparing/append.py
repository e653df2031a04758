"""Files added to a source since it was last prepared: which they are, and whether their rows go on where series ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from lstm_ray import __version__
from lstm_ray.config import Config
from lstm_ray.data.preparing.facts import Facts, followed
from lstm_ray.data.preparing.prepare import Told
from lstm_ray.data.preparing.segments import SEGMENT
from lstm_ray.data.schema import Scaler, Schema
from lstm_ray.data.source.files import Piece, stamp
from lstm_ray.data.split import GROUP
from lstm_ray.data.store import FILE, INDEX, NUM_STEPS, SEGMENTS, load_scaler, load_schema
from lstm_ray.data.timeline import grid
from lstm_ray.data.timeline.gaps import Gaps
from lstm_ray.data.timeline.grid import SERIES
from lstm_ray.errors import InputError
from lstm_ray.run_dir import REPORT, RunDir, StageDir, digest

MANIFEST, TAIL, WHO, DIFFERENCES = "manifest.json", "tail.parquet", "series.parquet", "differences.parquet"
COUNTERS = ("missing", "imputed", "present", "counts")
"""Of ``Told``, by name."""
CONTINUED = ("forward", "zero", "constant")
"""Rules of imputation that need no more of a series than where it ended."""


class Manifest(BaseModel):
    """What a prepared table was made of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: list[tuple[str, int, str]]
    """Name, bytes and version of each file."""
    settings: str
    """A hash of everything else that decides what is made of them."""
    rows: int
    missing: dict[str, int]
    imputed: dict[str, int]
    present: dict[str, int]
    counts: dict[str, int]
    gaps: Gaps


@dataclass(frozen=True)
class Earlier:
    """A prepared table, to which files were added."""

    manifest: Manifest
    pieces: list[Piece]
    """Of the added files."""
    index: pl.DataFrame
    tail: pl.DataFrame
    schema: Schema
    scaler: Scaler
    facts: Facts

    @property
    def told(self) -> Told:
        """What its blocks told but for labels, which are not written down."""
        known = self.manifest
        missing, imputed, present, counts = (Counter[str](getattr(known, name)) for name in COUNTERS)
        return Told(known.rows, counts, missing, imputed, present, gaps=known.gaps)


def described(pieces: Sequence[Piece]) -> list[tuple[str, int, str]]:
    """The files that some pieces lie in."""
    return list(dict.fromkeys((piece.file.name, piece.file.size, str(piece.file.version)) for piece in pieces))


def keep_facts(work: StageDir, found: Facts) -> None:
    """Write down who is in the table and when, for files that are added later."""
    found.series.write_parquet(work.path / WHO)
    found.differences.write_parquet(work.path / DIFFERENCES)


def keep(work: StageDir, config: Config, pieces: Sequence[Piece], told: Told, tail: pl.DataFrame) -> None:
    """Write down what else later files will go on from."""
    counters = {name: dict(getattr(told, name)) for name in COUNTERS}
    manifest = Manifest(
        files=described(pieces), settings=settings_of(config), rows=told.num_rows, gaps=told.gaps, **counters
    )
    tail.write_parquet(work.path / TAIL)
    work.write_json(MANIFEST, manifest)


def settings_of(config: Config) -> str:
    """A hash of what decides how rows are prepared, whichever files they are in."""
    tree = config.model_dump(mode="json")
    for section, name in (("data", "source"), ("preprocess", "engine"), ("preprocess", "refit")):
        del tree[section][name]
    sections = {name: tree[name] for name in ("task", "seed", "data", "preprocess", "split")}
    second = config.data.static_source
    joined = stamp(config.data.model_copy(update={"source": second, "static_source": None})) if second else None
    return digest({"version": __version__, "season": config.window.season, "static": joined, **sections})


def earlier(config: Config, run: RunDir, pieces: Sequence[Piece]) -> Earlier | None:
    """What the run's last preparation left, where all its files are as they were and others have been added.

    None where it must be made anew: where it is damaged, and where labels, shares of all series, or means of the past are
    asked for, which rows that were read before take part in.
    """
    by_rows = config.task != "forecast" or config.split.by == "order" or config.data.time is None
    by_past = config.preprocess.impute not in CONTINUED or config.data.irregular == "time_delta"
    # The report is the mark of a stage that is whole, also where a filesystem has no rename.
    if by_rows or by_past or not all(run.exists(f"preprocess/{name}") for name in (REPORT, MANIFEST)):
        return None
    try:
        found = _read(run, pieces)
    except (InputError, pl.exceptions.PolarsError, pa.ArrowException, OSError):
        return None
    files, known = set(described(pieces)), set(found.manifest.files)
    # A column that is constant in its series may tell in a new file what earlier rows lack.
    untold = found.tail.filter(pl.col(SEGMENT).is_not_null()).select(config.data.static)
    if not known < files or found.manifest.settings != settings_of(config) or any(untold.null_count().row(0)):
        return None
    return found


def _read(run: RunDir, pieces: Sequence[Piece]) -> Earlier:
    """Raises InputError, or what Polars and Arrow raise, for what is damaged."""
    manifest = run.read_model(f"preprocess/{MANIFEST}", Manifest)
    schema, known = load_schema(run), set(manifest.files)
    with run.local_copy("preprocess") as path:
        index, tail, series, differences = (pl.read_parquet(path / name) for name in (INDEX, TAIL, WHO, DIFFERENCES))
        _require_whole(path / SEGMENTS, index, run)
    added = [piece for piece in pieces if described([piece])[0] not in known]
    found = Facts(series, differences, schema.is_time)
    return Earlier(manifest, added, index, tail, schema, load_scaler(run), found)


def _require_whole(folder: Path, index: pl.DataFrame, run: RunDir) -> None:
    """Raises InputError where a file of segments has not the rows that the index says."""
    for name, rows in index.group_by(FILE).agg(pl.col(NUM_STEPS).sum()).iter_rows():
        held = pq.read_metadata(folder / name).num_rows
        if held != rows:
            raise run.damaged(f"preprocess/{SEGMENTS}/{name}", f"{held} rows, not {rows}")


def goes_on(found: Facts, before: Earlier, config: Config) -> Facts | None:
    """Facts of the whole table, where every row of the added files lies in a step after the end of its series, none before
    the axis began, and the step and the groups of series stay; None where they do not.

    Raises InputError where the whole table has no step.
    """
    step, shared = before.schema.step, found.series.join(before.facts.series, on=SERIES, suffix=":before")
    last, first = (grid.aligned(pl.col(name), step, config.data) for name in ("last:before", "first"))
    changed = shared.filter(first <= last)
    if GROUP in shared.columns:
        changed = pl.concat([changed, shared.filter(pl.col(GROUP) != pl.col(f"{GROUP}:before"))])
    if found.is_time != before.schema.is_time or changed.height or found.axis[0] < before.schema.axis_start:
        return None
    whole = followed(before.facts, found)
    return whole if grid.step_of(whole.differences, config.data, whole.is_time) == step else None
