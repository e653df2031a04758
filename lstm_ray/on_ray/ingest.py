"""The preprocess stage: a table to segments, in this process or spread over a cluster, with the same answer.

Two passes over blocks of whole series: who is there and when (``facts``), then segments and the training part's sums. Where
files were only added to the source, they alone are read.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from lstm_ray.config import Config
from lstm_ray.data.preparing import append, facts
from lstm_ray.data.preparing.account import account_of
from lstm_ray.data.preparing.append import Earlier
from lstm_ray.data.preparing.blocks import BLOCK_ROWS, WHOLE_BYTES, Blocks, Whole, pieces_of
from lstm_ray.data.preparing.facts import Facts, NoRowsError
from lstm_ray.data.preparing.prepare import Plan, Prepared, Told, with_part
from lstm_ray.data.preparing.segments import SEGMENT, STEP, classes_of, schema_of
from lstm_ray.data.quality import clean
from lstm_ray.data.scaling import fit
from lstm_ray.data.scaling.fit import TrainSums
from lstm_ray.data.schema import Scaler, Schema
from lstm_ray.data.source.files import Piece
from lstm_ray.data.split import boundaries_of, deal, train_rows
from lstm_ray.data.store import DEALT, FILE, FIRST_STEP, INDEX, NUM_STEPS, SEGMENTS, to_segments
from lstm_ray.data.timeline import grid
from lstm_ray.data.timeline.grid import SERIES
from lstm_ray.errors import InputError
from lstm_ray.run_dir import Report, RunDir, StageDir


@dataclass(frozen=True)
class Written:
    """What all blocks together are known to hold, their segments being in files."""

    index: pl.DataFrame
    sums: TrainSums
    told: Told
    tail: pl.DataFrame


def preprocess(config: Config, run: RunDir, work: StageDir) -> Report:
    """Write ``segments/*.parquet``, ``index.parquet``, ``schema.json`` and ``scaler.json``; where series are dealt to parts,
    ``dealt.parquet``; and for files that are added later, ``manifest.json`` and ``tail.parquet``.

    Raises InputError where the table cannot be read, laid on a grid or split, or no segment is left.
    """
    folder = work.path / SEGMENTS
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    pieces = pieces_of(config)
    before, blocks, found = _begun(config, run, pieces)
    append.keep_facts(work, found)
    plan = _planned(config, found, before)
    # A row for each series, which may be millions: what is written down is not held besides.
    del found
    num_kept = _keep(run, folder) if before else 0
    written = _write(blocks.prepared(plan), folder, num_kept)
    if before:
        written = _joined(before, written)
    # Adding up drops counts of nothing.
    grid.require_values({column: written.told.present[column] for column in config.data.target})
    if not written.index.height:
        raise InputError("no segment is left after cutting at gaps; raise preprocess.max_gap_steps")
    schema, scaler = _learned(config, plan, written, before, folder)
    if config.train.start_from is not None:
        # Whoever starts anew need not wait for torch.
        from lstm_ray.on_ray import start

        schema, scaler = start.in_its_units(start.given(config), config, schema)
    written.index.write_parquet(work.path / INDEX)
    if plan.dealt is not None:
        plan.dealt.write_parquet(work.path / DEALT)
    work.write_json("schema.json", schema)
    work.write_json("scaler.json", scaler)
    append.keep(work, config, pieces, written.told, written.tail)
    outliers = _outliers(folder, schema, scaler) if config.preprocess.outliers != "keep" else {}
    account = account_of(config, schema, written.told, _rejoined(written.index) if before else written.index, outliers)
    work.write_figures(account.figures)
    how = ""
    if before:
        how = f"; of {len(append.described(pieces))} files, only the {len(append.described(before.pieces))} added were read"
    return Report(
        stage="preprocess",
        summary=f"{written.told.num_rows:,} rows became {account.num_segments:,} "
        f"segment{'s' * (account.num_segments != 1)} of {account.num_steps:,} steps of "
        f"{grid.describe_step(schema.step, schema.is_time, schema.in_months)}, {blocks.words}{how}.",
        findings=account.findings,
        num_rows=written.told.num_rows,
        num_segments=account.num_segments,
    )


def blocks_of(config: Config, pieces: list[Piece]) -> Blocks:
    """The source in blocks: whole in this process, or over a cluster where that is asked for or the source is large."""
    engine = config.preprocess.engine
    if engine == "polars" or (engine == "auto" and sum(piece.num_bytes for piece in pieces) < WHOLE_BYTES):
        return Whole(config, pieces)
    # Only now, so that a small table never waits for Ray.
    from lstm_ray.on_ray.blocks import spread

    return spread(config, pieces)


def _begun(config: Config, run: RunDir, pieces: list[Piece]) -> tuple[Earlier | None, Blocks, Facts]:
    """What the table goes on from, none where it is read from its start; the blocks to work through; facts of all of it."""
    before = append.earlier(config, run, pieces)
    if before:
        with suppress(NoRowsError):
            blocks = blocks_of(config, before.pieces)
            if found := append.goes_on(facts.total(blocks.facts()), before, config):
                return before, blocks, found
    blocks = blocks_of(config, pieces)
    return None, blocks, facts.total(blocks.facts())


def _planned(config: Config, found: Facts, before: Earlier | None) -> Plan:
    step = grid.step_of(found.differences, config.data, found.is_time)
    first, last = facts.axis_of(found, step, config.data)
    schema = schema_of(config, step, found.is_time, first, last, [])
    # The last time stamp may lie after the last target; if so, sums are made again when that is known.
    parts = boundaries_of(config, schema, (last - first) // step + 1)
    dealt = deal(found.series, config) if config.split.by != "time" else None
    return Plan(config, schema, parts, dealt, before.tail if before else None)


def _keep(run: RunDir, folder: Path) -> int:
    """Take over the files of segments that were written before; how many there are."""
    with run.local_copy("preprocess") as path:
        kept = sorted((path / SEGMENTS).glob("*.parquet"))
        for file in kept:
            try:
                os.link(file, folder / file.name)
            except OSError:
                shutil.copy2(file, folder / file.name)
    return len(kept)


def _write(blocks: Iterable[Prepared], folder: Path, first_number: int) -> Written:
    """Write each block's file as it comes, so that no more of them are held than are under way."""
    index, tails, told, sums = [], [], Told(), None
    for number, block in enumerate(blocks, first_number):
        name = f"part-{number:05d}.parquet"
        (folder / name).write_bytes(block.content)
        index.append(block.index.with_columns(pl.lit(name).alias(FILE)))
        tails.append(block.tail)
        told += block.told
        sums = block.sums if sums is None else sums.merge(block.sums)
    assert sums is not None, "a table has at least one block"
    return Written(pl.concat(index), sums, told, pl.concat(tails))


def _joined(before: Earlier, written: Written) -> Written:
    index = pl.concat([before.index, written.index.select(before.index.columns)])
    gone_on = written.tail.select(SERIES).unique()
    tail = pl.concat([before.tail.join(gone_on, on=SERIES, how="anti"), written.tail])
    return replace(written, index=index, tail=tail, told=before.told + written.told)


def _rejoined(index: pl.DataFrame) -> pl.DataFrame:
    """A row for each segment, where one that later files continued has a row for each of these."""
    return index.group_by(SERIES, SEGMENT).agg(pl.col(NUM_STEPS).sum()).sort(SERIES, SEGMENT)


def _learned(
    config: Config, plan: Plan, written: Written, before: Earlier | None, folder: Path
) -> tuple[Schema, Scaler]:
    """The schema and the scaler; those of before, where they are not to be fitted anew."""
    if before and not config.preprocess.refit:
        known = {"classes": before.schema.classes, "categories": before.schema.categories}
        return plan.schema.model_copy(update=known), before.scaler
    num_steps = int((written.index[FIRST_STEP] + written.index[NUM_STEPS]).max())  # type: ignore[arg-type]
    parts = boundaries_of(config, plan.schema, num_steps)
    sums = written.sums
    if before or parts != plan.parts:
        sums = summed(folder, written.index, replace(plan, parts=parts))
    labels = pl.Series(list(written.told.labels), dtype=None if written.told.labels else pl.String)
    update = {"classes": classes_of(labels, config), "categories": fit.categories_of(sums)}
    schema = plan.schema.model_copy(update=update)
    return schema, fit.scaler_of(sums, schema, config)


def _outliers(folder: Path, schema: Schema, scaler: Scaler) -> dict[str, tuple[int, int]]:
    """Of each column the values that the network will not see as they are, and all values."""
    found: dict[str, tuple[int, int]] = {}
    for file in sorted(folder.glob("*.parquet")):
        segments = to_segments(pl.read_parquet(file), schema)
        found = clean.add(found, clean.count(segments, scaler))
    return found


def summed(folder: Path, index: pl.DataFrame, plan: Plan) -> TrainSums:
    """The sums of the plan's training part, from the files of segments, some whole series at a time."""
    train, total = train_rows(plan.config.split, plan.parts), None
    for names, files in _some_series(index):
        rows = pl.scan_parquet([folder / file for file in files]).join(names.lazy(), on=SERIES, how="semi")
        # Streamed, for files that were added one by one hold a little of every series.
        block = rows.sort(SERIES, SEGMENT, STEP).collect(engine="streaming")
        sums = fit.sums_of(with_part(block, plan.dealt), train, plan.schema, plan.config)
        total = sums if total is None else total.merge(sums)
    assert total is not None, "there is at least one segment"
    return total


def _some_series(index: pl.DataFrame, rows: int = 4 * BLOCK_ROWS) -> Iterator[tuple[pl.DataFrame, list[str]]]:
    """Names of series that have about so many rows together, and the files that hold them."""
    series = index.group_by(SERIES, maintain_order=True).agg(pl.col(NUM_STEPS).sum())
    cut = series[NUM_STEPS].cum_sum().to_numpy() // rows
    for number in np.unique(cut):
        names = series.filter(pl.Series(cut == number)).select(SERIES)
        yield names, index.join(names, on=SERIES, how="semi")[FILE].unique().sort().to_list()
