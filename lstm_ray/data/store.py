"""Segments between Parquet files in a run directory and flat arrays. Knows nothing of how either is used."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
from pydantic import BaseModel

from lstm_ray.data.grid import SERIES
from lstm_ray.data.schema import Scaler, Schema
from lstm_ray.data.segments import OBSERVED, SEGMENT, STEP
from lstm_ray.data.split import Boundaries
from lstm_ray.data.windows import Segments
from lstm_ray.run_dir import RunDir

SEGMENTS = "segments"
"""The directory of Parquet files inside the preprocess stage's."""


class SplitFile(BaseModel):
    """What of ``split/boundaries.json`` is read again."""

    parts: Boundaries


def load_segments(run: RunDir) -> tuple[Segments, Boundaries]:
    """All segments of a run, in the data's own units, and the split's boundaries."""
    schema = load_schema(run)
    segments = fill_leading(to_segments(read_segments(run), schema), load_scaler(run))
    return segments, run.read_model("split/boundaries.json", SplitFile).parts


def read_segments(run: RunDir) -> pl.DataFrame:
    """The table that ``make_segments`` gave. Raises InputError where its files are missing or damaged."""
    with run.local_copy("preprocess") as path:
        try:
            return pl.read_parquet(path / SEGMENTS / "*.parquet")
        except (pl.exceptions.PolarsError, OSError) as error:
            raise run.damaged(f"preprocess/{SEGMENTS}", str(error).partition("\n")[0]) from None


def load_schema(run: RunDir) -> Schema:
    return run.read_model("preprocess/schema.json", Schema)


def load_scaler(run: RunDir) -> Scaler:
    return run.read_model("preprocess/scaler.json", Scaler)


def to_segments(frame: pl.DataFrame, schema: Schema) -> Segments:
    """A table of segments (``make_segments``) as flat arrays, ordered by first step (classify) or series."""
    order = [SERIES, SEGMENT, STEP]
    if schema.classes and schema.label is None:
        frame = frame.with_columns(_first=pl.col(STEP).min().over(SERIES))
        order = ["_first", *order]
    frame = frame.sort(order)
    heads = frame.select(pl.struct(SERIES, SEGMENT).rle_id().diff().fill_null(1) != 0).to_series().to_numpy()
    start = np.flatnonzero(heads)
    steps = frame[STEP].to_numpy()
    label = label_R = None
    if schema.label is not None:
        codes = (
            frame[schema.label].cast(pl.Enum(schema.classes)).to_physical() if schema.classes else frame[schema.label]
        )
        label_R = codes.cast(pl.Float32).fill_null(np.nan).to_numpy()
    elif schema.classes:
        (name,) = set(frame.columns) - {SERIES, SEGMENT, STEP, "_first", *schema.past, *schema.categories}
        kind = pl.Enum(schema.classes)
        label = frame[name].cast(kind).to_physical().to_numpy().astype(np.int64)[start]
    known = _floats(frame, schema.known)
    return Segments(
        target_RC=_floats(frame, schema.target),
        observed_RC=_floats(frame, [OBSERVED + c for c in schema.observed]),
        past_RP=_floats(frame, schema.past),
        known_RK=np.concatenate([known, schema.calendar_features(schema.times(steps))], axis=1),
        bounds=np.append(start, len(steps)).astype(np.int64),
        series=frame[SERIES].gather(start).to_list(),
        first_step=steps[start].astype(np.int64),
        label=label,
        schema=schema,
        category_SK=_codes(frame[start], schema),
        label_R=label_R,
    )


def fill_leading(segments: Segments, scaler: Scaler) -> Segments:
    """What precedes a column's first value becomes the training part's mean, as scaling would make it."""

    def fill(values_RF: np.ndarray, mean: list[float]) -> np.ndarray:
        own = values_RF[:, : len(mean)]
        return np.where(np.isnan(own), np.asarray(mean, dtype=np.float32), own)

    known = segments.known_RK.copy()
    known[:, : len(scaler.known.mean)] = fill(known, scaler.known.mean)
    return replace(
        segments,
        target_RC=fill(segments.target_RC, scaler.centre("target")),
        past_RP=fill(segments.past_RP, scaler.centre("past")),
        known_RK=known,
    )


def _codes(heads: pl.DataFrame, schema: Schema) -> np.ndarray:
    """Each segment's categorical values as codes, int64 [S, K]; 0 where the training part does not hold the value."""
    codes = np.zeros((heads.height, len(schema.categories)), dtype=np.int64)
    for k, (column, values) in enumerate(schema.categories.items()):
        code = {value: index for index, value in enumerate(values, 1)}
        codes[:, k] = [code.get(value, 0) for value in heads[column]]
    return codes


def _floats(frame: pl.DataFrame, columns: list[str]) -> np.ndarray:
    if not columns:
        return np.empty((frame.height, 0), dtype=np.float32)
    return frame.select(pl.col(columns).cast(pl.Float32)).to_numpy(order="c")
