"""What the preprocess stage has to say: findings and figures of a prepared table. Reads no values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from lstm_ray import figure
from lstm_ray.config import Config
from lstm_ray.data.preparing.blocks import series_begins
from lstm_ray.data.preparing.prepare import Told
from lstm_ray.data.schema import Schema
from lstm_ray.data.store import NUM_STEPS
from lstm_ray.figure import Figure
from lstm_ray.run_dir import Finding

PUT_RIGHT = {
    "duplicates": "{n:,} rows with a series and time that came before were joined (data.duplicates: {duplicates}).",
    "ambiguous": "{n:,} time stamps lie in an hour that comes twice in {time_zone}; the first is read as summer time.",
    "resampled": "{n:,} rows lie off the grid and were averaged into its steps (data.irregular: resample).",
}
"""What reading puts right, by the name it is counted under."""


@dataclass(frozen=True)
class Account:
    """A prepared table in words and pictures."""

    findings: list[Finding]
    figures: list[Figure]
    num_segments: int
    num_steps: int


def account_of(
    config: Config, schema: Schema, told: Told, segments: pl.DataFrame, outliers: Mapping[str, tuple[int, int]]
) -> Account:
    """What there is to say of a prepared table.

    Args:
        segments: a row for each, those of a series after one another: series, num_steps.
        outliers: of each column how many values are outliers, and how many there are; where they are treated.
    """
    lengths = segments[NUM_STEPS].to_numpy()
    num_steps, num_series = int(lengths.sum()), int(segments.select(series_begins().sum()).item())
    inputs = [*schema.target, *schema.past, *schema.known]
    missing = {column: told.missing[column] / max(1, told.num_rows) for column in inputs}
    findings = [
        *_put_right(config, told),
        *_filled(config, schema, told, num_steps, missing),
        *_treated(config, outliers),
    ]
    if told.gaps.steps:
        words = f"{told.gaps.steps:,} time stamps are missing: runs {told.gaps.words}; "
        series = f" in '{told.gaps.series}'" if config.data.series_id else ""
        after = str(schema.of_ticks(np.array([told.gaps.after]))[0]).replace("T", " ")
        where = f"the longest has {told.gaps.longest:,} steps, after {after}{series}."
        findings.append(Finding(severity="info", text=words + where))
    if len(lengths) > num_series:
        text = f"Gaps over {config.preprocess.max_gap_steps} steps cut {num_series} series into {len(lengths)}."
        advice = "preprocess.max_gap_steps: a higher limit fills them"
        findings.append(Finding(severity="info", text=text, advice=advice))
    return Account(findings, _figures(schema, missing, lengths), len(lengths), num_steps)


def _put_right(config: Config, told: Told) -> list[Finding]:
    words = {"duplicates": config.data.duplicates, "time_zone": config.data.time_zone}
    found = []
    for name, n in sorted(told.counts.items()):
        text = PUT_RIGHT.get(name, "{n:,} rows: " + name + ".").format(n=n, **words)
        if n:
            found.append(Finding(severity="info", text=text))
    return found


def _filled(config: Config, schema: Schema, told: Told, num_steps: int, missing: dict[str, float]) -> list[Finding]:
    findings, rule = [], config.preprocess.impute
    for column in schema.observed:
        share = told.imputed[column] / num_steps
        if share > 0:
            how = "; they never count as truth" if config.task == "forecast" else ", and are read as such"
            text = f"{share:.2%} of the steps of '{column}' were filled ({rule}){how}."
            findings.append(Finding(severity="info" if share < 0.1 else "warning", text=text))
    for column, share in missing.items():
        if share > 0.05 and column not in schema.observed:
            advice = "leave it out of data.past unless it helps on validation" if share > 0.5 else ""
            text = f"Input '{column}' is missing in {share:.1%} of the rows; it is filled ({rule})."
            findings.append(Finding(severity="advice", text=text, advice=advice))
    return findings


def _treated(config: Config, outliers: Mapping[str, tuple[int, int]]) -> list[Finding]:
    prepare, findings = config.preprocess, []
    how = "limited to the nearest value inside" if prepare.outliers == "clip" else "read as missing"
    for column, (number, total) in outliers.items():
        if number:
            text = (
                f"{number:,} of {total:,} values of '{column}' ({number / total:.2%}) are outliers (outlier_method: "
                f"{prepare.outlier_method}, outlier_deviations: {prepare.outlier_deviations:g}) and {how} where the network "
                "reads them; what is scored stays as it was."
            )
            findings.append(Finding(severity="info" if number < 0.02 * total else "warning", text=text))
    return findings


def _figures(schema: Schema, missing: dict[str, float], lengths: np.ndarray) -> list[Figure]:
    worst = max(missing, key=lambda name: missing[name])
    figures = [
        figure.bars(
            "missing-inputs",
            "Values missing from the source",
            f"'{worst}' misses most: {missing[worst]:.2%} of its rows. Filled values are marked and never count as truth.",
            list(missing),
            {"share of rows": list(missing.values())},
            y_title="share of rows",
        )
    ]
    if schema.observed and lengths.min() < lengths.max():
        counts, edges = np.histogram(lengths, bins=min(30, len(lengths)))
        figures.append(
            figure.bars(
                "segment-lengths",
                "Unbroken stretches",
                f"{len(lengths):,} segments, from {lengths.min():,} to {lengths.max():,} steps.",
                [f"{int(edge):,}" for edge in edges[:-1]],
                {"segments": counts},
                x_title="steps from",
            )
        )
    return figures
