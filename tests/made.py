"""Small made-up data, configs and policies for the core's tests. Runs no Ray and trains nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lstm_ray.config import Config, parse
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.scaling.transform import Transform
from lstm_ray.data.schema import ColumnScale, Scaler, Schema, Units
from lstm_ray.data.windows import Segments
from lstm_ray.model.network import build
from lstm_ray.model.policy import Policy, SeriesInput
from lstm_ray.on_ray.ingest import preprocess
from lstm_ray.run_dir import REPORT, Report, RunDir

HOUR = 3_600_000_000
START = np.datetime64("2024-03-01T00", "h")
PARTS: Boundaries = {"train": (0, 140), "validation": (140, 180), "test": (180, 240)}
"""For segments of 240 steps."""


def config_tree(source: str = "unused.csv") -> dict[str, Any]:
    """The YAML of a small forecast."""
    return {
        "name": "made",
        "data": {"source": source, "series_id": ["site"], "time": "when", "target": ["load"], "past": ["wind"]},
        "preprocess": {"engine": "polars", "max_gap_steps": 6},
        "window": {"history": 12, "horizon": 6, "patch": 4, "season": 6},
        "model": {
            "hidden": 8,
            "members": 1,
            "dropout": 0.0,
            "normalisation": "mean",
            "linear": "none",
            "pooling": "mean",
        },
        "train": {
            "weight_averaging": None,
            "precision": "float32",
            "batch": 8,
            "origins": 5,
            "max_epochs": 3,
            "learning_rate": 0.01,
        },
    }


def make_config(source: str | Path = "unused.csv", **values: object) -> Config:
    """A small forecast; ``section__field`` replaces a field."""
    return _changed(config_tree(str(source)), values)


def classify_config(**values: object) -> Config:
    """A small classification of ``make_sequences``."""
    tree = config_tree() | {"task": "classify"}
    tree["data"] = {"source": "unused.csv", "series_id": ["day"], "time": "when", "past": ["load"], "label": "kind"}
    return _changed(tree, values)


def label_config(**values: object) -> Config:
    """A small labelling of ``labelled_of``: a class for each step."""
    tree = config_tree() | {"task": "label"}
    roles = {"past": ["load"], "label": "state", "label_kind": "class"}
    tree["data"] = {"source": "unused.csv", "series_id": ["site"], "time": "when"} | roles
    tree["window"] = {"history": 12, "patch": 1}
    tree["model"] = {"hidden": 8, "members": 1, "dropout": 0.0}
    return _changed(tree, values)


def value_config(**values: object) -> Config:
    """A small labelling of ``labelled_of(kind="value")``: a value for each step."""
    return label_config(data__label_kind="value", **values)


def _changed(tree: dict[str, Any], values: dict[str, object]) -> Config:
    for name, value in values.items():
        section, _, field = name.rpartition("__")
        (tree.setdefault(section, {}) if section else tree)[field] = value
    return parse(tree)


def write_table(file: Path, steps: int = 240, series: Sequence[str] = ("a", "b")) -> Path:
    """An hourly CSV: a daily wave and noise; series b lacks 3 rows, 10 rows in a row and some values."""
    random = np.random.default_rng(1)
    lines = ["site,when,load,wind"]
    for index, name in enumerate(series):
        for step in range(steps):
            load = 10 * index + 3 * np.sin(2 * np.pi * step / 24) + random.normal(0, 0.3)
            wind = random.normal()
            if name == "b" and (50 <= step < 53 or 100 <= step < 110):
                continue
            empty = name == "b" and step % 37 == 5
            lines.append(f"{name},{START + step}:00:00Z,{'' if empty else f'{load:.4f}'},{wind:.4f}")
    file.write_text("\n".join(lines) + "\n")
    return file


def prepared_run(config: Config, folder: Path) -> RunDir:
    """A run directory as the preprocess stage leaves it."""
    run = RunDir(folder)
    prepared_again(config, run)
    return run


def prepared_again(config: Config, run: RunDir) -> Report:
    """The preprocess stage's report, in a run directory that may hold an earlier one's work."""
    with run.stage("preprocess", "0" * 64) as work:
        report = preprocess(config, run, work)
        work.write_json(REPORT, report)
    return report


def frame_of(**columns: Sequence[Any]) -> pl.DataFrame:
    """A loaded table (``grid.load``) of one series 'all' on integer steps, from its numeric columns."""
    length = len(next(iter(columns.values())))
    floats = [pl.Series(name, values, dtype=pl.Float64) for name, values in columns.items()]
    return pl.DataFrame([pl.Series("series", ["all"] * length), pl.Series("time", range(length)), *floats])


def schema_of(
    target: Sequence[str] = ("load",),
    past: Sequence[str] = ("wind",),
    known: Sequence[str] = (),
    calendar: Sequence[str] = ("hour",),
    classes: Sequence[str] = (),
    is_time: bool = True,
) -> Schema:
    return Schema(
        target=list(target),
        past=list(past),
        known=list(known),
        calendar=list(calendar) if is_time else [],
        classes=list(classes),
        step=HOUR if is_time else 1,
        is_time=is_time,
        axis_start=int(START.astype("datetime64[us]").astype(np.int64)) if is_time else 0,
    )


def segments_of(
    lengths: Sequence[int] = (240,),
    first_step: Sequence[int] | None = None,
    schema: Schema | None = None,
    seed: int = 0,
) -> Segments:
    """Segments of random waves in units of their own; a tenth of the target is not measured."""
    schema = schema or schema_of()
    random = np.random.default_rng(seed)
    rows = sum(lengths)
    first = np.asarray(first_step if first_step is not None else [0] * len(lengths), dtype=np.int64)
    step = np.concatenate([f + np.arange(n) for f, n in zip(first, lengths, strict=True)] or [np.empty(0)])
    wave = 3 * np.sin(2 * np.pi * step / 24)[:, None]
    columns = (len(schema.target), len(schema.past), len(schema.known))
    target, past, known = (20 + wave + random.normal(size=(rows, n)) for n in columns)
    calendar = schema.calendar_features(schema.times(step))
    return Segments(
        target_RC=target.astype(np.float32),
        observed_RC=(random.random(target.shape) > 0.1).astype(np.float32),
        past_RP=past.astype(np.float32),
        known_RK=np.concatenate([known, calendar], axis=1).astype(np.float32),
        bounds=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        series=[f"s{index}" for index in range(len(lengths))],
        first_step=first,
        label=None,
        schema=schema,
        category_SK=np.zeros((len(lengths), 0), np.int64),
    )


def sequences_of(lengths: Sequence[int], seed: int = 0) -> Segments:
    """Sequences to classify, one a day: the input of class 'up' rises."""
    schema = schema_of(target=(), past=("load",), classes=("down", "up"))
    made = segments_of(lengths, [24 * index for index in range(len(lengths))], schema, seed)
    label = np.arange(len(lengths), dtype=np.int64) % 2
    position = np.arange(made.bounds[-1]) - np.repeat(made.bounds[:-1], lengths)
    slope = np.repeat(2 * label - 1, lengths) * position
    fields = vars(made) | {"past_RP": made.past_RP + slope[:, None].astype(np.float32), "label": label}
    return Segments(**fields)


def labelled_of(
    lengths: Sequence[int] = (240,), first_step: Sequence[int] | None = None, kind: str = "class", seed: int = 0
) -> Segments:
    """Segments whose every step has a label, but for a tenth: 'high' where the input of this step and the two before is
    above its mean on average, or that average as a value."""
    classes = ("high", "low") if kind == "class" else ()
    schema = schema_of(target=(), past=("load",), classes=classes).model_copy(update={"label": "state"})
    made = segments_of(lengths, first_step, schema, seed)
    value_R = np.empty(made.bounds[-1], np.float32)
    for first, end in zip(made.bounds[:-1], made.bounds[1:], strict=True):
        past = np.pad(made.past_RP[first:end, 0], (2, 0), mode="edge")
        value_R[first:end] = np.convolve(past, np.ones(3) / 3, "valid")
    random = np.random.default_rng(seed + 1)
    label_R = (value_R < 20).astype(np.float32) if classes else value_R
    label_R[random.random(len(label_R)) < 0.1] = np.nan
    observed = (random.random(made.past_RP.shape) > 0.1).astype(np.float32)
    return Segments(**{**vars(made), "label_R": label_R, "observed_RC": observed})


def scaler_of(segments: Segments) -> Scaler:
    """Mean and deviation of all values."""

    def scale(values: np.ndarray) -> ColumnScale:
        return ColumnScale(mean=values.mean(0).tolist(), deviation=values.std(0).tolist())

    known = segments.known_RK[:, : len(segments.schema.known)]
    label = None
    if segments.label_R is not None and not segments.schema.classes:
        label = ColumnScale(mean=[float(np.nanmean(segments.label_R))], deviation=[float(np.nanstd(segments.label_R))])
    return Scaler(target=scale(segments.target_RC), past=scale(segments.past_RP), known=scale(known), label=label)


def in_logarithms(scaler: Scaler, offset: float, mean: float, deviation: float) -> Scaler:
    """The scaler, its targets learned as logarithms of value plus offset with this mean and deviation."""
    num = len(scaler.target.mean)
    transform = Transform(kind="log", power=[0.0] * num, offset=[offset] * num, least=[0.0] * num, unit=[1.0] * num)
    units = Units(zero=[mean] * num, unit=[deviation] * num, typical=[mean] * num, spread=[deviation] * num)
    return scaler.model_copy(update={"transform": transform, "read": {"target": units}})


def random_policy(config: Config, segments: Segments) -> Policy:
    """A policy with the weights that its seed draws."""
    return Policy(config, segments.schema, scaler_of(segments), build(config, segments.schema).state_dict())


def series_input(segments: Segments, origin: int, history: int, horizon: int, name: str = "one") -> SeriesInput:
    """The window that ends its history at a row, as a caller of ``Policy.predict`` would send it."""
    seen, ahead = np.arange(origin - history + 1, origin + 1), np.arange(origin + 1, origin + horizon + 1)
    schema = segments.schema
    values = {
        **dict(zip(schema.target, segments.target_RC[seen].T, strict=True)),
        **dict(zip(schema.past, segments.past_RP[seen].T, strict=True)),
        **dict(zip(schema.known, segments.known_RK[seen, : len(schema.known)].T, strict=True)),
    }
    future = dict(zip(schema.known, segments.known_RK[ahead, : len(schema.known)].T, strict=True))
    return SeriesInput(segments.times(seen).tolist(), values, future, name)
