"""The stage 'explore': every analysis of the raw table, gathered into tables, figures and findings."""

from __future__ import annotations

from lstm_ray.config import Config
from lstm_ray.data.timeline import grid
from lstm_ray.data.timeline.grid import SERIES
from lstm_ray.errors import InputError
from lstm_ray.explore import (
    changes,
    classes,
    distribution,
    flat,
    gaps,
    importance,
    inputs,
    labels,
    lags,
    leakage,
    outliers,
    profiles,
    quality,
    repeats,
    seasonality,
    separation,
    stationarity,
    trends,
    volatility,
)
from lstm_ray.explore.analysis import Analysis, counted, tidy
from lstm_ray.explore.table import Table, read, table_of
from lstm_ray.run_dir import Finding, Report, RunDir, StageDir

URGENCY = {"warning": 0, "advice": 1, "info": 2}


def explore(config: Config, run: RunDir, work: StageDir) -> Report:
    """Look at the raw table. Leaves ``tables/NAME.json``, ``findings.json`` and the figures.

    Raises InputError where the table cannot be laid on a regular grid, split as configured, or has no label.
    """
    notes = Analysis()
    table = table_of(config, *read(config, notes))
    analyses = [notes, *look(config, table)]
    for analysis in analyses:
        for name, content in analysis.tables.items():
            work.write_json(f"tables/{name}.json", tidy(content))
    findings = sorted((f for a in analyses for f in a.findings), key=lambda finding: URGENCY[finding.severity])
    work.write_json("findings.json", findings)
    work.write_figures([figure for analysis in analyses for figure in analysis.figures])
    return _report(table, analyses, findings)


def look(config: Config, table: Table) -> list[Analysis]:
    """Every analysis that fits the task."""
    data, season = config.data, config.window.season
    own_steps = data.irregular == "time_delta" and data.time is not None
    task = {"forecast": _forecast, "classify": _classify, "label": _label}[config.task]
    return [
        quality.put_right(table.facts.counts, table.facts.num_rows, data),
        quality.deltas(table.rows) if own_steps else quality.intervals(table.facts.differences, table.clock, data),
        *([] if own_steps else [gaps.timestamps(table.came, table.clock, season)]),
        gaps.missing_values(table.rows, data.numeric, data),
        quality.categories(table.parts, data.categorical),
        leakage.clocks_and_ids(table.rows, data),
        *task(config, table),
    ]


def _forecast(config: Config, table: Table) -> list[Analysis]:
    data, window, explore_ = config.data, config.window, config.explore
    frame, clock, season = table.frame, table.clock, config.window.season
    moving = [*data.target, *data.past, *data.known]
    normalisation = config.model.normalisation
    notes = Analysis()
    if len(moving) > lags.MOST_COLUMNS or len(data.target) > seasonality.MOST_PAIRS:
        notes.say(
            "info",
            f"Of {len(data.target)} targets and {len(moving)} columns, seasons are measured in the first "
            f"{seasonality.MOST_PAIRS}, lags in the first {lags.MOST_COLUMNS}, correlations in the first "
            f"{inputs.MOST_COLUMNS}.",
        )
    permuted = importance.permutation(table.grid_parts, data, window.horizon, season, clock, config.seed)
    return [
        notes,
        leakage.leaks(frame, data, season, explore_.max_lag_steps, clock),
        repeats.windows(table.grid_parts, data.target, window.horizon, clock),
        repeats.series(table.rows, data.target),
        trends.overview(frame, data.target, clock),
        trends.trends(frame, data.target, clock),
        stationarity.stationarity(frame, data.target, season, clock, normalisation),
        changes.changes(frame, data.target, season, clock, table.train_end, normalisation),
        profiles.profiles(frame, data.target[0], season, clock),
        seasonality.seasonality(frame, data.target, window, explore_.max_lag_steps, clock),
        lags.memory(frame, data.target, explore_.max_lag_steps, clock),
        lags.inputs_against_target(frame, data, season, explore_.max_lag_steps, clock),
        inputs.importance(frame, data, window.horizon, season, clock, draw=not permuted.figures),
        permuted,
        inputs.redundancy(frame, data, draw=False),
        gaps.missing_map(frame, data.numeric, clock),
        distribution.distribution(table.grid_parts, moving, data.target, normalisation),
        volatility.volatility(frame, data.target, season, clock),
        outliers.outliers(frame, moving, season, explore_.outlier_deviations, clock),
        flat.flat_lines(frame, moving, data, season, clock),
    ]


def _classify(config: Config, table: Table) -> list[Analysis]:
    data, season = config.data, config.window.season
    assert data.label is not None
    notes, parts = Analysis(), table.parts.drop_nulls(data.label)
    if unlabelled := table.rows.height - parts.height:
        if parts.is_empty():
            raise InputError(f"label '{data.label}' has no values at all; name another column in data.label")
        notes.say("warning", f"{unlabelled:,} rows have no label in '{data.label}' and are left out here.")
    frame = table.frame.join(parts.select(SERIES).unique(), on=SERIES, how="semi", maintain_order="left")
    return [
        notes,
        classes.balance(parts, data.label, table.clock),
        repeats.sequences(parts, data.past, data.label),
        separation.separation(parts, data.past, data.label, config.seed),
        inputs.redundancy(parts, data),
        gaps.missing_map(frame, data.past, table.clock),
        distribution.distribution(parts, data.past, []),
        outliers.outliers(frame, data.past, season, config.explore.outlier_deviations, table.clock),
        flat.flat_lines(frame, data.past, data, season, table.clock),
    ]


def _label(config: Config, table: Table) -> list[Analysis]:
    data, explore_, season = config.data, config.explore, config.window.season
    assert data.label is not None
    is_class, inputs_of = config.answers == "classes", [*data.past, *data.known]
    rows, frame, clock = table.rows, table.frame, table.clock
    taught = rows.drop_nulls(data.label)
    if taught.is_empty():
        raise InputError(f"label '{data.label}' has no values at all; name another column in data.label")
    described = inputs_of if is_class else [*inputs_of, data.label]
    return [
        labels.presence(rows, data.label),
        *([labels.balance(table.parts.drop_nulls(data.label), data.label, clock)] if is_class else []),
        labels.told_by_inputs(taught, inputs_of, data.label, is_class, config.seed),
        repeats.windows(table.grid_parts, inputs_of, config.window.history, clock),
        inputs.redundancy(rows, data),
        gaps.missing_map(frame, data.numeric, clock),
        distribution.distribution(table.parts, described, [] if is_class else [data.label]),
        outliers.outliers(frame, inputs_of, season, explore_.outlier_deviations, clock),
        flat.flat_lines(frame, inputs_of, data, season, clock),
    ]


def _report(table: Table, analyses: list[Analysis], findings: list[Finding]) -> Report:
    facts, clock = table.facts, table.clock
    counts = {kind: sum(finding.severity == kind for finding in findings) for kind in URGENCY}
    num_series, missing = facts.series.height, _num_missing(table)
    decomposed = next((analysis for analysis in analyses if "seasonality" in analysis.tables), None)
    strength = seasonality.mean_strength(decomposed) if decomposed else None
    frequency = grid.describe_step(clock.step, clock.is_time, clock.in_months)
    season = "" if strength is None else f", seasonal strength {strength:.2f}"
    return Report(
        stage="explore",
        summary=f"{num_series:,} series, {facts.num_rows:,} rows every {frequency}, {missing:,} time stamps missing"
        f"{season}; {counted(counts['warning'], 'warning')} and {counted(counts['advice'], 'piece')} of advice.",
        findings=findings,
        num_series=num_series,
        num_rows=facts.num_rows,
        num_missing_timestamps=missing,
        seasonality_strength=None if strength is None else round(strength, 6),
        frequency=frequency,
    )


def _num_missing(table: Table) -> int:
    """Time stamps that the table lacks; of the rows looked at, where these were moved to the grid."""
    if table.came.height != table.rows.height or table.is_whole:
        return gaps.num_missing(table.came, table.clock)
    spans = (table.facts.series["last"] - table.facts.series["first"]) // table.clock.step
    return int(spans.sum()) + spans.len() - table.facts.num_rows
