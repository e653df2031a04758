"""Preprocessing: whole series to segments in Parquet, spread by Ray Data or in this process, with the same answer."""

from __future__ import annotations

import shutil
from itertools import pairwise

import numpy as np
import polars as pl
import pyarrow as pa
import ray
import ray.data

from lstm_ray import figure
from lstm_ray.config import Config
from lstm_ray.data import grid
from lstm_ray.data.schema import Scaler, Schema
from lstm_ray.data.segments import OBSERVED, SEGMENT, STEP, fit_scaler, make_schema, make_segments, with_categories
from lstm_ray.data.split import boundaries, own_test_start
from lstm_ray.data.store import SEGMENTS
from lstm_ray.errors import InputError
from lstm_ray.figure import Figure
from lstm_ray.on_ray import cluster
from lstm_ray.run_dir import Finding, Report, RunDir, StageDir

ROWS_PER_BLOCK = 250_000
"""Rows of a Ray Data block; a series is never cut between blocks."""


def preprocess(config: Config, run: RunDir, work: StageDir) -> Report:
    """Write ``segments/*.parquet``, ``schema.json`` and ``scaler.json``."""
    frame = grid.load(config.data)
    step = grid.frequency(frame, config.data)
    schema = make_schema(frame, step, config)
    folder = work.path / SEGMENTS
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    if config.preprocess.engine == "ray":
        _with_ray(frame, schema, config, str(folder))
    else:
        segments_of(frame, schema, config).write_parquet(folder / "part-0.parquet")
    segments = pl.scan_parquet(folder / "*.parquet")
    counts = segments.select(pl.len(), pl.col(STEP).max()).collect()
    num_rows, last_step = counts.row(0)
    if not num_rows:
        raise InputError("no segment is left after cutting at gaps; raise preprocess.max_gap_steps")
    test_start = own_test_start(config.data, schema.axis_start)
    train_end = boundaries(config.split, last_step + 1, test_start)["train"][1]
    schema = with_categories(schema, segments, train_end, config)
    scaler = fit_scaler(segments, schema, train_end, config)
    work.write_json("schema.json", schema)
    work.write_json("scaler.json", scaler)
    facts = _facts(frame, segments, schema)
    work.write_figures(_figures(facts, scaler, schema))
    return Report(
        stage="preprocess",
        summary=f"{facts['rows']:,} rows became {facts['segments']:,} segments of {facts['grid_rows']:,} steps of "
        f"{grid.describe_step(step, schema.is_time)}.",
        findings=_findings(facts, config),
        num_rows=facts["rows"],
        num_segments=facts["segments"],
    )


def segments_of(frame: pl.DataFrame, schema: Schema, config: Config) -> pl.DataFrame:
    """Whole series, as loaded, to segments."""
    return make_segments(grid.regular(frame, schema.step), schema, config)


def _with_ray(frame: pl.DataFrame, schema: Schema, config: Config, folder: str) -> None:
    def convert(block: pa.Table) -> pa.Table:
        part = pl.from_arrow(block)
        assert isinstance(part, pl.DataFrame)
        return segments_of(part, schema, config).to_arrow()

    cluster.ensure()
    blocks = [block.to_arrow() for block in _blocks_of_whole_series(frame)]
    dataset = ray.data.from_arrow(blocks).map_batches(convert, batch_format="pyarrow", batch_size=None)
    dataset.write_parquet(folder)


def _blocks_of_whole_series(frame: pl.DataFrame) -> list[pl.DataFrame]:
    """Cut a table sorted by series into blocks of about ROWS_PER_BLOCK rows, between series; at least two if it can."""
    starts = frame.select((pl.col(grid.SERIES) != pl.col(grid.SERIES).shift(1)).fill_null(True).arg_true()).to_series()
    size = min(ROWS_PER_BLOCK, -(-frame.height // 2))
    cuts = [0]
    for start in [*starts.to_list()[1:], frame.height]:
        if start - cuts[-1] >= size or start == frame.height:
            cuts.append(start)
    return [frame[first:end] for first, end in pairwise(cuts)]


def _facts(frame: pl.DataFrame, segments: pl.LazyFrame, schema: Schema) -> dict:
    observed = [(1 - pl.col(OBSERVED + c).mean()).alias(c) for c in schema.observed]
    lengths = segments.group_by(grid.SERIES, SEGMENT).agg(n=pl.len()).collect()["n"]
    inputs = [*schema.target, *schema.past, *schema.known]
    missing = frame.select(pl.col(inputs).null_count() / max(1, frame.height)).row(0, named=True)
    imputed = segments.select(observed).collect().row(0, named=True) if observed else {}
    return {
        "rows": frame.height,
        "grid_rows": int(lengths.sum()),
        "segments": len(lengths),
        "series": frame[grid.SERIES].n_unique(),
        "lengths": lengths.to_numpy(),
        "missing": missing,
        "imputed": imputed,
    }


def _findings(facts: dict, config: Config) -> list[Finding]:
    findings = []
    for column, part in facts["imputed"].items():
        if part > 0:
            how = "; they never count as truth" if config.task == "forecast" else ", and are read as such"
            filled = config.preprocess.impute if config.task == "forecast" else "forward"
            text = f"{part:.2%} of the steps of '{column}' were filled ({filled}){how}."
            findings.append(Finding(severity="info" if part < 0.1 else "warning", text=text))
    for column, part in facts["missing"].items():
        if part > 0.05 and column not in facts["imputed"]:
            advice = "leave it out of data.past unless it helps on validation" if part > 0.5 else ""
            text = f"Input '{column}' is missing in {part:.1%} of the rows; the last value stands in."
            findings.append(Finding(severity="advice", text=text, advice=advice))
    if facts["segments"] > facts["series"]:
        text = (
            f"Gaps over {config.preprocess.max_gap_steps} steps cut {facts['series']} series into {facts['segments']}."
        )
        findings.append(
            Finding(severity="info", text=text, advice="preprocess.max_gap_steps: a higher limit fills them")
        )
    return findings


def _figures(facts: dict, scaler: Scaler, schema: Schema) -> list[Figure]:
    missing = facts["missing"]
    worst = max(missing, key=lambda name: missing[name])
    figures = [
        figure.bars(
            "missing-inputs",
            "Values missing from the source",
            f"'{worst}' misses most: {missing[worst]:.2%} of its rows. Filled values are marked and never count as truth.",
            list(missing),
            {"share of rows": [float(v) for v in missing.values()]},
            y_title="share of rows",
        )
    ]
    if schema.observed and facts["lengths"].min() < facts["lengths"].max():
        counts, edges = np.histogram(facts["lengths"], bins=min(30, facts["segments"]))
        figures.append(
            figure.bars(
                "segment-lengths",
                "Unbroken stretches",
                f"{facts['segments']} segments, from {facts['lengths'].min():,} to {facts['lengths'].max():,} steps.",
                [f"{int(edge):,}" for edge in edges[:-1]],
                {"segments": counts},
                x_title="steps from",
            )
        )
    return figures
