"""The stage 'explore': every analysis of the raw table, gathered into tables, figures and findings."""

from __future__ import annotations

import numpy as np
import polars as pl

from lstm_ray.config import Config
from lstm_ray.data import grid
from lstm_ray.data.grid import SERIES, TIME
from lstm_ray.data.split import own_test_start
from lstm_ray.errors import InputError
from lstm_ray.explore import (
    classes,
    distribution,
    flat,
    gaps,
    inputs,
    labels,
    lags,
    outliers,
    profiles,
    seasonality,
    separation,
    trends,
    volatility,
)
from lstm_ray.explore.analysis import Analysis, Clock, axis_of, counted, tidy
from lstm_ray.run_dir import Finding, Report, RunDir, StageDir

URGENCY = {"warning": 0, "advice": 1, "info": 2}


def explore(config: Config, run: RunDir, work: StageDir) -> Report:
    """Look at the raw table. Leaves ``tables/NAME.json``, ``findings.json`` and the figures.

    Raises InputError where the table cannot be laid on a regular grid, split as configured, or has no label.
    """
    whole, notes = grid.load(config.data), Analysis()
    clock = Clock(grid.frequency(whole, config.data), isinstance(whole.schema[TIME], pl.Datetime))
    sample = _sample(whole, config.explore.max_rows, config.seed, notes)
    look = {"forecast": _forecast, "classify": _classify, "label": _label}[config.task]
    analyses = [
        notes,
        gaps.timestamps(whole, clock, config.window.season),
        gaps.missing_values(whole, config.data.numeric, config.data),
        *look(config, sample, clock, axis_of(whole)),
    ]
    for analysis in analyses:
        for name, table in analysis.tables.items():
            work.write_json(f"tables/{name}.json", tidy(table))
    findings = sorted((f for a in analyses for f in a.findings), key=lambda finding: URGENCY[finding.severity])
    work.write_json("findings.json", findings)
    work.write_figures([figure for analysis in analyses for figure in analysis.figures])
    return _report(whole, clock, analyses, findings)


def _forecast(config: Config, sample: pl.DataFrame, clock: Clock, axis: tuple[int, int]) -> list[Analysis]:
    data, window, explore_ = config.data, config.window, config.explore
    frame = _on_grid(sample, clock)
    moving = [*data.target, *data.past, *data.known]
    notes = Analysis()
    if len(moving) > lags.MOST_COLUMNS or len(data.target) > seasonality.MOST_PAIRS:
        notes.say(
            "info",
            f"Of {len(data.target)} targets and {len(moving)} columns, seasons are measured in the first "
            f"{seasonality.MOST_PAIRS}, lags in the first {lags.MOST_COLUMNS}, correlations in the first "
            f"{inputs.MOST_COLUMNS}.",
        )
    return [
        notes,
        trends.overview(frame, data.target),
        trends.trends(frame, data.target, clock),
        profiles.profiles(frame, data.target[0], window.season, clock),
        seasonality.seasonality(frame, data.target, window, explore_.max_lag_steps, clock),
        lags.memory(frame, data.target, explore_.max_lag_steps, clock),
        lags.inputs_against_target(frame, data, window.season, explore_.max_lag_steps, clock),
        inputs.importance(frame, data, window.horizon, window.season, clock),
        inputs.redundancy(frame, data, draw=False),
        gaps.missing_map(frame, data.numeric, clock),
        distribution.distribution(distribution.with_parts(frame, config.split, clock, axis), moving, data.target),
        volatility.volatility(frame, data.target, window.season, clock),
        outliers.outliers(frame, moving, window.season, explore_.outlier_deviations),
        flat.flat_lines(frame, moving, data, window.season, clock),
    ]


def _classify(config: Config, sample: pl.DataFrame, clock: Clock, axis: tuple[int, int]) -> list[Analysis]:
    data = config.data
    assert data.label is not None
    rows = sample.height
    notes, sample = Analysis(), sample.drop_nulls(data.label)
    if unlabelled := rows - sample.height:
        if sample.is_empty():
            raise InputError(f"label '{data.label}' has no values at all; name another column in data.label")
        notes.say("warning", f"{unlabelled:,} rows have no label in '{data.label}' and are left out here.")
    test_start = own_test_start(data, axis[0])
    parts = distribution.with_parts(sample, config.split, clock, axis, whole_sequences=True, test_start=test_start)
    frame = _on_grid(sample, clock)
    return [
        notes,
        classes.balance(parts, data.label, clock),
        separation.separation(sample, data.past, data.label, config.seed),
        inputs.redundancy(sample, data),
        gaps.missing_map(frame, data.past, clock),
        distribution.distribution(parts, data.past, []),
        outliers.outliers(frame, data.past, config.window.season, config.explore.outlier_deviations),
        flat.flat_lines(frame, data.past, data, config.window.season, clock),
    ]


def _label(config: Config, sample: pl.DataFrame, clock: Clock, axis: tuple[int, int]) -> list[Analysis]:
    data, explore_, season = config.data, config.explore, config.window.season
    assert data.label is not None
    is_class, inputs_of = config.answers == "classes", [*data.past, *data.known]
    taught = sample.drop_nulls(data.label)
    if taught.is_empty():
        raise InputError(f"label '{data.label}' has no values at all; name another column in data.label")
    parts = distribution.with_parts(sample, config.split, clock, axis)
    frame = _on_grid(sample, clock)
    described = inputs_of if is_class else [*inputs_of, data.label]
    return [
        labels.presence(sample, data.label),
        *([labels.balance(parts.drop_nulls(data.label), data.label, clock)] if is_class else []),
        labels.told_by_inputs(taught, inputs_of, data.label, is_class, config.seed),
        inputs.redundancy(sample, data),
        gaps.missing_map(frame, data.numeric, clock),
        distribution.distribution(parts, described, [] if is_class else [data.label]),
        outliers.outliers(frame, inputs_of, season, explore_.outlier_deviations),
        flat.flat_lines(frame, inputs_of, data, season, clock),
    ]


def _on_grid(sample: pl.DataFrame, clock: Clock) -> pl.DataFrame:
    """The regular grid, with a column that is null where the time stamp was missing."""
    return grid.regular(sample.with_columns(pl.lit(True).alias(gaps.OBSERVED)), clock.step)


def _sample(frame: pl.DataFrame, max_rows: int, seed: int, notes: Analysis) -> pl.DataFrame:
    """Whole series, drawn at random, with at most ``max_rows`` rows together; one series at least."""
    if frame.height <= max_rows:
        return frame
    lengths = frame.group_by(SERIES, maintain_order=True).len()
    order = np.random.default_rng(seed).permutation(lengths.height)
    total = np.cumsum(lengths["len"].to_numpy()[order])
    kept = order[: max(1, int(np.searchsorted(total, max_rows, side="right")))]
    if len(kept) == lengths.height:
        words = f"The one series has {frame.height:,} rows, over explore.max_rows ({max_rows:,}); a series is not cut."
        notes.say("info", words)
        return frame
    sample = frame.filter(pl.col(SERIES).is_in(lengths[SERIES].gather(np.sort(kept)).to_list()))
    notes.say(
        "info",
        f"The table has {frame.height:,} rows; beside gaps and missing values, all that is said here is of "
        f"{len(kept):,} of its {lengths.height:,} series, drawn at random ({sample.height:,} rows; explore.max_rows is "
        f"{max_rows:,}).",
    )
    return sample


def _report(whole: pl.DataFrame, clock: Clock, analyses: list[Analysis], findings: list[Finding]) -> Report:
    counts = {kind: sum(finding.severity == kind for finding in findings) for kind in URGENCY}
    num_series, missing = whole[SERIES].n_unique(), gaps.num_missing(whole, clock)
    decomposed = next((analysis for analysis in analyses if "seasonality" in analysis.tables), None)
    strength = seasonality.mean_strength(decomposed) if decomposed else None
    frequency = grid.describe_step(clock.step, clock.is_time)
    season = "" if strength is None else f", seasonal strength {strength:.2f}"
    return Report(
        stage="explore",
        summary=f"{num_series:,} series, {whole.height:,} rows every {frequency}, {missing:,} time stamps missing"
        f"{season}; {counted(counts['warning'], 'warning')} and {counted(counts['advice'], 'piece')} of advice.",
        findings=findings,
        num_series=num_series,
        num_rows=whole.height,
        num_missing_timestamps=missing,
        seasonality_strength=None if strength is None else round(strength, 6),
        frequency=frequency,
    )
