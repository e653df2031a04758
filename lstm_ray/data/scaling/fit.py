"""The scaler of a training part, from one pass over blocks of whole series. Knows tables of segments; opens no files.

``sums_of`` each block, merged in any order, hold all that ``scaler_of`` asks for: the answer is that of the whole table,
to DIGITS, and nothing is computed that the config does not ask for.
Shapes: R rows, S series, N measured values, F columns, C targets.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import reduce

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.data.preparing.segments import OBSERVED, STEP
from lstm_ray.data.quality.clean import Cleaning
from lstm_ray.data.scaling import scales
from lstm_ray.data.scaling.powers import transform_of
from lstm_ray.data.scaling.sums import Moments, Sample, Sketch, mixed
from lstm_ray.data.scaling.transform import Transform
from lstm_ray.data.schema import ROLES, ColumnScale, Role, Scaler, Schema, Units
from lstm_ray.data.timeline.grid import SERIES
from lstm_ray.errors import InputError

WIDE = 10.0
"""Series differ widely in size where the mean of a large one (9 in 10 are smaller) is this many times a small one's."""


@dataclass(frozen=True)
class TrainSums:
    """What a training part comes to: plain numbers that merge. None: nobody asked for it."""

    moments: dict[str, Moments]
    """By role, and of ``label`` where labels are values. Of targets, measured values alone."""
    sketches: list[Sketch] | None
    """Of each target, where it may be transformed."""
    size_SC: NDArray | None
    """Mean of each target in each series, NaN where none was measured, where logarithms may be learned."""
    sample: Sample | None
    """Rows of all columns, in the order of the roles, where quartiles are asked for."""
    series: pl.DataFrame | None
    """A row per series, where each has its own scale: of each target its count, mean, sum of squares, extremes, quartiles."""
    categories: dict[str, frozenset[str]]

    def merge(self, other: TrainSums) -> TrainSums:
        """Of both blocks."""
        sketches, sizes = None, None
        if self.sketches is not None and other.sketches is not None:
            sketches = [mine.merge(its) for mine, its in zip(self.sketches, other.sketches, strict=True)]
        if self.size_SC is not None and other.size_SC is not None:
            sizes = np.concatenate([self.size_SC, other.size_SC])
        return TrainSums(
            moments={name: mine.merge(other.moments[name]) for name, mine in self.moments.items()},
            sketches=sketches,
            size_SC=sizes,
            sample=self.sample.merge(other.sample) if self.sample and other.sample else None,
            series=pl.concat([self.series, other.series])
            if self.series is not None and other.series is not None
            else None,
            categories={name: mine | other.categories[name] for name, mine in self.categories.items()},
        )


def sums_of(segments: pl.DataFrame, train: pl.Expr, schema: Schema, config: Config) -> TrainSums:
    """The sums of a block.

    Args:
        segments: of whole series, as ``make_segments`` gives them, so that a series' rows lie together.
        train: which rows are the training part.
    """
    prepare, wanted = config.preprocess, _wanted(config)
    if schema.weight is not None:
        # Rows that are not to be learned from are not to be learned from here either.
        train = train & (pl.col(schema.weight) > 0)
    rows = segments.select(train.alias("train")).to_series()
    inside = None if rows.all() else rows
    values = {role: _measured(segments, role, schema, inside) for role in ROLES}
    moments: dict[str, Moments] = {
        role: Moments.of(columns, prepare.scale == "minmax" or (role == "target" and wanted != "none"))
        for role, columns in values.items()
    }
    if schema.label and config.answers == "values":
        moments["label"] = Moments.of([_numbers(segments[schema.label], inside)], False)
    # Logarithms by themselves are for values above 0: where a block holds another, nothing is kept for them.
    may = wanted not in ("none", "auto") or (wanted == "auto" and bool((moments["target"].low_F > 0).all()))
    may = may and bool(schema.target)
    return TrainSums(
        moments=moments,
        sketches=[Sketch.of(column) for column in values["target"]] if may else None,
        size_SC=_sizes(segments, values["target"], inside, schema) if may and wanted in ("auto", "log") else None,
        sample=_sample(segments, inside, schema) if _wants_quartiles(config) else None,
        series=_by_series(segments, train, schema, config) if prepare.scale_by == "series" else None,
        categories={
            name: frozenset(_inside(segments[name], inside).drop_nulls().unique()) for name in config.data.categorical
        },
    )


def categories_of(sums: TrainSums) -> dict[str, list[str]]:
    """Each categorical column's values in the training part, sorted: ``Schema.categories``."""
    return {name: sorted(values) for name, values in sums.categories.items()}


def scaler_of(sums: TrainSums, schema: Schema, config: Config) -> Scaler:
    """The scaler. Raises InputError where a target has no value that its transform takes, or no step has a label."""
    prepare = config.preprocess
    wanted = "log" if _logs_by_themselves(sums, config) else _wanted(config)
    own: dict[Role, ColumnScale] = {role: scales.column_scale(sums.moments[role]) for role in ROLES}
    transform = None
    if wanted not in ("none", "auto") and schema.target:
        assert sums.sketches is not None, "sums_of keeps what a transform is fitted on"
        transform = transform_of(wanted, sums.moments["target"], sums.sketches, sums.size_SC, schema.target)
    read = {role: units for role in ROLES if (units := _units(sums, role, schema, config, transform)) is not None}
    label = None
    if schema.label and not schema.classes:
        if not sums.moments["label"].count_F[0]:
            raise InputError(
                f"label '{schema.label}' has no values in the training part; give split.train more, or drop what lies before"
            )
        label = scales.column_scale(sums.moments["label"])
    quartile_3F = {role: scales.quartiles(_sampled(sums, role, schema)) for role in ROLES if sums.sample is not None}
    scaler = Scaler(
        **own,
        label=label,
        transform=transform,
        read=read,
        cleaning=Cleaning.of(prepare, config.window),
        fences=scales.fences_of(own, quartile_3F, prepare),
    )
    if prepare.scale_by != "series":
        return scaler
    assert sums.series is not None, "sums_of keeps statistics of each series"
    own_units = scales.series_units(sums.series, scaler.units("target"), prepare, config.window.history)
    return scaler.model_copy(update={"series": own_units})


def fit_scaler(frame: pl.LazyFrame | pl.DataFrame, schema: Schema, train: pl.Expr, config: Config) -> Scaler:
    """The scaler of a table that is one block."""
    return scaler_of(sums_of(frame.lazy().collect(), train, schema, config), schema, config)


def merged(blocks: list[TrainSums]) -> TrainSums:
    """The sums of several blocks, at least one."""
    return reduce(TrainSums.merge, blocks)


def _wanted(config: Config) -> str:
    """``preprocess.transform``; 'none' where 'auto' could choose no logarithms: where the network speaks the target's own
    units, or each series is told in units of its own, which does what logarithms would."""
    wanted, model = config.preprocess.transform, config.model
    own = model.output != "identity" or model.distribution == "negative_binomial"
    if wanted == "auto" and (own or config.preprocess.scale_by == "series" or config.task != "forecast"):
        return "none"
    return wanted


def _wants_quartiles(config: Config) -> bool:
    prepare = config.preprocess
    return prepare.scale == "robust" or (prepare.outliers != "keep" and prepare.outlier_method == "iqr")


def _inside(column: pl.Series, inside: pl.Series | None) -> pl.Series:
    return column if inside is None else column.filter(inside)


def _numbers(column: pl.Series, inside: pl.Series | None) -> NDArray:
    """Those of a column that are not missing, float64 [N]; no copy where all of it is there."""
    found: NDArray = _inside(column, inside).drop_nulls().cast(pl.Float64).to_numpy()
    return found


def _kept(segments: pl.DataFrame, name: str, inside: pl.Series | None) -> pl.Series | None:
    """Rows in which a target was measured, in the training part; None: all."""
    measured = segments[OBSERVED + name]
    if measured.all():
        return inside
    return measured if inside is None else measured & inside


def _measured(segments: pl.DataFrame, role: Role, schema: Schema, inside: pl.Series | None) -> list[NDArray]:
    """The training part's values of each column of a role, float64 [N] each."""
    names: list[str] = getattr(schema, role)
    rows = {name: _kept(segments, name, inside) if role == "target" else inside for name in names}
    return [_numbers(segments[name], rows[name]) for name in names]


def _starts(segments: pl.DataFrame) -> NDArray:
    """First row of each series, int64 [S]."""
    names = segments[SERIES]
    return np.append(0, (names[1:] != names[:-1]).arg_true().to_numpy() + 1)[: segments.height]


def _sizes(segments: pl.DataFrame, values: list[NDArray], inside: pl.Series | None, schema: Schema) -> NDArray:
    """Mean of each target in each series of the block, [S, C]; NaN where none was measured."""
    starts = _starts(segments)
    found = np.full((len(starts), len(values)), np.nan)
    for c, (name, column_N) in enumerate(zip(schema.target, values, strict=True)):
        kept = _kept(segments, name, inside)
        if kept is None:
            count = np.diff(starts, append=segments.height)
        else:
            count = np.add.reduceat(kept.to_numpy(), starts, dtype=np.int64)
        held = count > 0
        first = (np.cumsum(count) - count)[held]
        if len(first):
            found[held, c] = np.add.reduceat(column_N, first) / count[held]
    return found


def _sample(segments: pl.DataFrame, inside: pl.Series | None, schema: Schema) -> Sample:
    """Rows of the training part by the smallest hashes of series and step; targets that were not measured are missing."""
    starts = _starts(segments)
    names = segments[SERIES].gather(starts) if len(starts) else segments[SERIES]
    key_S = np.array(
        [int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") for name in names], np.uint64
    )
    key_R = np.repeat(key_S, np.diff(starts, append=segments.height))
    hash_R = mixed(key_R ^ mixed(segments[STEP].cast(pl.Int64).to_numpy().astype(np.uint64)))
    columns = [pl.when(OBSERVED + name).then(name).alias(name) for name in schema.target]
    columns += [pl.col(name) for name in (*schema.past, *schema.known)]
    rows = np.arange(len(hash_R)) if inside is None else np.flatnonzero(inside.to_numpy())
    # The rows are chosen before any value is read.
    chosen = Sample.of(hash_R[rows], rows[:, None])
    picked = segments.select(columns)[chosen.values_NF[:, 0]]
    values_NF = picked.cast(pl.Float64).to_numpy() if columns else np.empty((len(picked), 0))
    return Sample(chosen.hash_N, values_NF)


def _by_series(segments: pl.DataFrame, train: pl.Expr, schema: Schema, config: Config) -> pl.DataFrame:
    """A row for each series: statistics of each target's measured values (``Scaler.series``)."""
    found = []
    for c, name in enumerate(schema.target):
        value = pl.col(name).filter(pl.col(OBSERVED + name) & train).cast(pl.Float64)
        if config.preprocess.transform == "log1p":
            value = value.log1p()
        found += [
            value.count().cast(pl.Float64).alias(f"{c}n"),
            value.mean().alias(f"{c}mean"),
            (value.var(ddof=0) * value.count()).alias(f"{c}squares"),
            value.min().alias(f"{c}low"),
            value.max().alias(f"{c}high"),
        ]
        if config.preprocess.scale == "robust":
            found += [value.quantile(q, "linear").alias(f"{c}q{q}") for q in scales.QUARTILES]
    return segments.lazy().group_by(SERIES, maintain_order=True).agg(found).collect()


def _logs_by_themselves(sums: TrainSums, config: Config) -> bool:
    """'auto': logarithms for values above 0 of series that differ widely in size, all targets."""
    if _wanted(config) != "auto" or sums.size_SC is None:
        return False
    for size_S in sums.size_SC.T:
        sizes = pl.Series(size_S[~np.isnan(size_S)])
        small, large = sizes.quantile(0.1), sizes.quantile(0.9)
        if small is None or large is None or large < WIDE * small:
            return False
    return True


def _units(sums: TrainSums, role: Role, schema: Schema, config: Config, transform: Transform | None) -> Units | None:
    """How a role's columns are read; None: in deviations from their own means."""
    prepare, pooled = config.preprocess, config.preprocess.scale_by == "all"
    transform = transform if role == "target" else None
    if not getattr(schema, role) or (prepare.scale == "standard" and not pooled and transform is None):
        return None
    moments, quartile_3F = sums.moments[role], None
    if transform is not None:
        assert sums.sketches is not None, "a transform was fitted on them"
        moments = scales.transformed(moments, sums.sketches, transform)
    # What a column misses is read as its own typical value, in whatever units.
    typical_F = np.where(moments.count_F > 0, moments.mean_F, np.nan) if pooled else None
    if prepare.scale == "robust":
        values_NF = _sampled(sums, role, schema)
        values_NF = values_NF if transform is None else transform.apply(values_NF)
        quartile_3F = scales.quartiles(values_NF, pooled)
        typical_F = scales.quartiles(values_NF)[1] if pooled else None
    return scales.units_of(moments.pooled() if pooled else moments, quartile_3F, prepare, typical_F)


def _sampled(sums: TrainSums, role: Role, schema: Schema) -> NDArray:
    """A role's columns of the sample, [N, F]."""
    assert sums.sample is not None, "sums_of keeps one where quartiles are asked for"
    first = sum(len(getattr(schema, name)) for name in ROLES[: ROLES.index(role)])
    found: NDArray = sums.sample.values_NF[:, first : first + len(getattr(schema, role))]
    return found
