"""Files added to a source since it was last prepared: which they are, and whether their rows go on where series ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from pydantic import BaseModel, ConfigDict

from lstm_ray import __version__
from lstm_ray.config import Config
from lstm_ray.data.preparing.facts import Facts
from lstm_ray.data.preparing.prepare import Told
from lstm_ray.data.schema import Scaler, Schema
from lstm_ray.data.source.files import Piece
from lstm_ray.data.store import DEALT, INDEX, load_scaler, load_schema
from lstm_ray.data.timeline.grid import SERIES, TIME
from lstm_ray.run_dir import RunDir, digest

MANIFEST, TAIL = "manifest.json", "tail.parquet"
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
    dealt: pl.DataFrame | None
    """The part of each series, and its group where split.group names one."""

    @property
    def told(self) -> Told:
        """What its blocks told, as far as it is written down."""
        known = self.manifest
        return Told(
            known.rows, Counter(known.counts), Counter(known.missing), Counter(known.imputed), Counter(known.present)
        )


def described(pieces: Sequence[Piece]) -> list[tuple[str, int, str]]:
    """The files that some pieces lie in."""
    return list(dict.fromkeys((piece.file.name, piece.file.size, str(piece.file.version)) for piece in pieces))


def manifest_of(config: Config, pieces: Sequence[Piece], told: Told) -> Manifest:
    """What a prepared table is made of."""
    counters = {name: dict(getattr(told, name)) for name in ("missing", "imputed", "present", "counts")}
    return Manifest(files=described(pieces), settings=settings_of(config), rows=told.num_rows, **counters)


def settings_of(config: Config) -> str:
    """A hash of what decides how rows are prepared, whichever files they are in."""
    tree = config.model_dump(mode="json")
    for section, name in (("data", "source"), ("preprocess", "engine"), ("preprocess", "refit")):
        del tree[section][name]
    sections = {name: tree[name] for name in ("task", "seed", "data", "preprocess", "split")}
    return digest({"version": __version__, "season": config.window.season, **sections})


def earlier(config: Config, run: RunDir, pieces: Sequence[Piece]) -> Earlier | None:
    """What the run's last preparation left, where all its files are as they were and others have been added.

    None where it must be made anew: also where labels, shares of all series, or means of the past are asked for, which rows
    that were read before take part in.
    """
    if not run.exists(f"preprocess/{MANIFEST}"):
        return None
    manifest = run.read_model(f"preprocess/{MANIFEST}", Manifest)
    known = set(manifest.files)
    added = [piece for piece in pieces if described([piece])[0] not in known]
    by_rows = config.task != "forecast" or config.split.by == "order" or config.data.time is None
    by_past = config.preprocess.impute not in CONTINUED or config.data.irregular == "time_delta"
    if by_rows or by_past or not added or not known <= set(described(pieces)):
        return None
    if manifest.settings != settings_of(config):
        return None
    with run.local_copy("preprocess") as path:
        index, tail = pl.read_parquet(path / INDEX), pl.read_parquet(path / TAIL)
        dealt = pl.read_parquet(path / DEALT) if (path / DEALT).exists() else None
    return Earlier(manifest, added, index, tail, load_schema(run), load_scaler(run), dealt)


def goes_on(facts: Facts, before: Earlier) -> bool:
    """Every row of the added files lies after the end of its series, and none before the axis began."""
    ends = before.tail.group_by(SERIES).agg(end=pl.col(TIME).cast(pl.Int64).max())
    late = facts.series.join(ends, on=SERIES).filter(pl.col("first") <= pl.col("end"))
    return facts.is_time == before.schema.is_time and not late.height and facts.axis[0] >= before.schema.axis_start
