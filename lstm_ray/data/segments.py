"""Gridded series to segments: gaps cut or filled, training statistics summed. Polars; knows nothing of files or models."""

from __future__ import annotations

import numpy as np
import polars as pl

from lstm_ray.config import Config
from lstm_ray.data.grid import SERIES, TIME
from lstm_ray.data.schema import DIGITS, ColumnScale, LogScale, Scaler, Schema, column_scale
from lstm_ray.errors import InputError

SEGMENT, STEP, OBSERVED = "segment", "step", "observed:"
WIDE = 10.0
"""Series differ widely in size where the mean of a large one (9 in 10 are smaller) is this many times a small one's."""
MAX_CLASSES = 1000
"""Classes of steps, at most; a column with more holds something else."""
OFFSET = 0.02
"""What is added before taking logarithms, as a share of a typical series' mean."""


def make_schema(frame: pl.DataFrame, step: int, config: Config) -> Schema:
    """The schema of a loaded table. Raises InputError where series do not share one grid or a role cannot be filled."""
    data, is_time = config.data, isinstance(frame.schema[TIME], pl.Datetime)
    ticks = frame[TIME].cast(pl.Int64)
    start = int(ticks.min())  # type: ignore[arg-type]
    off = int(((ticks - start) % step != 0).sum())
    if off:
        raise InputError(
            f"{off} rows of '{data.time}' lie between the grid's steps: series start at different offsets; "
            "round the time stamps to data.frequency"
        )
    classes = _classes_of_steps(frame, config) if config.task == "label" else []
    if data.label and config.task == "classify":
        mixed = frame.group_by(SERIES).agg(n=pl.col(data.label).n_unique()).filter(pl.col("n") > 1)
        if mixed.height:
            raise InputError(
                f"label '{data.label}' changes inside {mixed.height} sequences, such as '{mixed[SERIES][0]}'; "
                "it must be constant within one data.series_id"
            )
        if frame[data.label].null_count():
            raise InputError(
                f"label '{data.label}' is missing in {frame[data.label].null_count()} rows; fill or drop them"
            )
        classes = sorted(frame[data.label].unique())
        if len(classes) < 2:
            raise InputError(f"label '{data.label}' has one class only, {classes}; a classifier needs two")
    _require_constant_categories(frame, config)
    return Schema(
        target=data.target,
        past=data.past,
        known=[*data.known, *data.static],
        calendar=config.preprocess.calendar if is_time else [],
        classes=classes,
        label=data.label if config.task == "label" else None,
        step=step,
        is_time=is_time,
        axis_start=start,
    )


def make_segments(frame: pl.DataFrame, schema: Schema, config: Config) -> pl.DataFrame:
    """Whole series on the regular grid (``grid.regular``) to segments, in the data's own units.

    A run of steps without any target (of past inputs, where each step has a label) longer than preprocess.max_gap_steps
    cuts the series; shorter ones are imputed, and ``observed:COLUMN`` tells them from measured values. A classified
    sequence is never cut. What precedes a column's first value stays null, and is read as the training part's mean. The
    label of a step is never imputed.

    Returns columns: series, segment, step, targets, observed:targets (or observed:past), past, known, label and
    categorical.
    """
    prepare = config.preprocess
    columns = [*schema.target, *schema.past, *schema.known]
    step = ((pl.col(TIME).cast(pl.Int64) - schema.axis_start) // schema.step).alias(STEP)
    label = [config.data.label] if config.data.label else []
    constant = [*([] if schema.label else label), *config.data.categorical]
    frame = frame.with_columns(pl.col(c).forward_fill().backward_fill().over(SERIES) for c in constant)
    frame = frame.with_columns(step, *(pl.col(c).is_not_null().alias(OBSERVED + c) for c in schema.observed))
    if schema.observed:
        missing = ~pl.any_horizontal(OBSERVED + c for c in schema.observed)
        frame = frame.with_columns(_run=missing.rle_id().over(SERIES))
        long = missing & (pl.len().over(SERIES, "_run") > prepare.max_gap_steps)
        frame = frame.with_columns(_long=long).drop("_run")
        # Leading and trailing runs teach nothing, however short.
        seen = (~missing).cast(pl.Int8)
        inside = (seen.cum_max().over(SERIES) == 1) & (seen.cum_max(reverse=True).over(SERIES) == 1)
        segment = pl.col("_long").rle_id().over(SERIES).cast(pl.Int32).alias(SEGMENT)
        frame = frame.with_columns(segment, _keep=inside & ~pl.col("_long")).filter("_keep").drop("_keep", "_long")
    else:
        frame = frame.with_columns(pl.lit(0, pl.Int32).alias(SEGMENT))
    fill = [
        pl.col(c).interpolate() if prepare.impute == "linear" and c not in schema.past else pl.col(c) for c in columns
    ]
    whole = [expression.forward_fill().over(SERIES, SEGMENT) for expression in fill]
    observed = [pl.col(OBSERVED + c) for c in schema.observed]
    return frame.select(SERIES, SEGMENT, STEP, *whole, *observed, *label, *config.data.categorical)


def with_categories(schema: Schema, frame: pl.LazyFrame, train_end: int, config: Config) -> Schema:
    """The schema with the categorical values that segments hold before ``train_end``."""
    train = frame.filter(pl.col(STEP) < train_end)
    values = {c: sorted(train.select(pl.col(c).unique()).collect()[c]) for c in config.data.categorical}
    return schema.model_copy(update={"categories": values})


def fit_scaler(frame: pl.LazyFrame, schema: Schema, train_end: int, config: Config) -> Scaler:
    """Statistics of the segments' training part: steps before ``train_end``, measured target values alone."""
    train = frame.filter(pl.col(STEP) < train_end)
    parts = {}
    for role in ("target", "past", "known"):
        names: list[str] = getattr(schema, role)
        kept = [pl.col(c).filter(pl.col(OBSERVED + c)) if role == "target" else pl.col(c) for c in names]
        sums = [e.count().cast(pl.Float64) for e in kept], [e.sum() for e in kept], [(e * e).sum() for e in kept]
        rows = [train.select(part).collect().row(0) if names else () for part in sums]
        parts[role] = column_scale(*(np.asarray(row, dtype=np.float64) for row in rows))
    limit = config.preprocess.outlier_deviations if config.preprocess.outliers == "clip" else None
    log = _log_scale(train, schema) if _wants_log(train, schema, config) else None
    label = _label_scale(train, schema.label) if schema.label and not schema.classes else None
    return Scaler(**parts, label=label, limit=limit, log=log)


def _label_scale(train: pl.LazyFrame, name: str) -> ColumnScale:
    """Raises InputError where the training part has no label."""
    own = pl.col(name)
    row = (
        train.select(own.count().cast(pl.Float64), own.sum().alias("s"), (own * own).sum().alias("q")).collect().row(0)
    )
    if not row[0]:
        raise InputError(
            f"label '{name}' has no values in the training part; give split.train more, or drop what lies before"
        )
    return column_scale(*(np.asarray([value], dtype=np.float64) for value in row))


def _wants_log(train: pl.LazyFrame, schema: Schema, config: Config) -> bool:
    """``preprocess.transform``; by itself, logarithms for values above 0 of series that differ widely in size, unless the
    network speaks the target's own units."""
    wanted, model = config.preprocess.transform, config.model
    if wanted != "auto" or model.output != "identity" or model.distribution == "negative_binomial" or not schema.target:
        return wanted == "log"
    for name in schema.target:
        values = pl.col(name).filter(pl.col(OBSERVED + name))
        sizes = train.group_by(SERIES).agg(values.mean().alias("size"), values.min().alias("low")).drop_nulls()
        low, small, large = (
            sizes.select(
                pl.col("low").min(),
                pl.col("size").quantile(0.1).alias("small"),
                pl.col("size").quantile(0.9).alias("large"),
            )
            .collect()
            .row(0)
        )
        if low is None or low <= 0 or large < WIDE * small:
            return False
    return True


def _log_scale(train: pl.LazyFrame, schema: Schema) -> LogScale:
    """Statistics of the logarithms of measured target values. Raises InputError where one lies below 0.

    The offset that keeps zeros finite is OFFSET of the size of a typical series: the geometric mean, over series, of
    their means. That of the column would drown small series beside large ones.
    """
    offsets, sums = [], []
    for name in schema.target:
        values = pl.col(name).filter(pl.col(OBSERVED + name))
        lowest = train.select(values.min()).collect().item()
        if lowest is not None and lowest < 0:
            raise InputError(
                f"preprocess.transform is log, but target '{name}' holds {lowest:g} in the training part; logarithms need "
                "values of 0 and above: use transform: none, or shift the column"
            )
        sizes = train.group_by(SERIES).agg(values.mean().alias("size")).filter(pl.col("size") > 0)
        typical = sizes.sort(SERIES).select(pl.col("size").log().mean().exp()).collect().item()
        offset = float(f"{OFFSET * typical:.{DIGITS}g}") if typical is not None else 1.0
        logarithm = (values + offset).log()
        own = train.select(
            logarithm.count().cast(pl.Float64), logarithm.sum().alias("s"), (logarithm**2).sum().alias("q")
        )
        offsets.append(offset)
        sums.append(own.collect().row(0))
    scale = column_scale(*np.asarray(sums, dtype=np.float64).reshape(-1, 3).T)
    return LogScale(offset=offsets, mean=scale.mean, deviation=scale.deviation)


def _classes_of_steps(frame: pl.DataFrame, config: Config) -> list[str]:
    """The classes that steps have, sorted, whole numbers by size; none where labels are values. Raises InputError where
    there is nothing to tell apart."""
    name = config.data.label
    assert name is not None, "the config refuses task 'label' without one"
    found = frame[name].drop_nulls().unique()
    if found.is_empty():
        raise InputError(f"label '{name}' has no values at all; name another column in data.label")
    if config.answers == "values":
        return []
    if len(found) < 2:
        raise InputError(
            f"label '{name}' has one class only, {found.to_list()}; telling classes apart needs two (data.label_kind: value "
            "learns numbers)"
        )
    if len(found) > MAX_CLASSES:
        raise InputError(
            f"label '{name}' has {len(found)} different classes, more than {MAX_CLASSES}; join rare ones, or set "
            "data.label_kind to value where they are numbers"
        )
    numbers = found.cast(pl.Int64, strict=False)
    by_size = not numbers.null_count() and numbers.cast(pl.String).to_list() == found.to_list()
    return sorted(found.to_list(), key=int) if by_size else sorted(found.to_list())


def _require_constant_categories(frame: pl.DataFrame, config: Config) -> None:
    for column in config.data.categorical:
        found = frame.group_by(SERIES, maintain_order=True).agg(
            n=pl.col(column).drop_nulls().n_unique(), values=pl.col(column).unique(maintain_order=True)
        )
        if (changing := found.filter(pl.col("n") > 1)).height:
            name, _, values = changing.row(0)
            raise InputError(
                f"categorical column '{column}' changes inside {changing.height} series, such as '{name}' ({values[:3]}); "
                "it must be constant within one data.series_id; a column that moves belongs in data.past, as numbers"
            )
        if (empty := found.filter(pl.col("n") == 0)).height:
            raise InputError(
                f"categorical column '{column}' is empty in {empty.height} series, such as '{empty[SERIES][0]}'; "
                "fill it, with a word such as 'unknown'"
            )
