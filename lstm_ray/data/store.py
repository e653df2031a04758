"""Segments between Parquet files in a run directory and flat arrays. Knows nothing of how either is used.

An index says where each segment lies, a row each, so that planning windows reads no values and loading them reads one file
after the other. A segment whose series was continued by later files lies in several pieces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel

from lstm_ray.data import room
from lstm_ray.data.parts import PARTS, Boundaries
from lstm_ray.data.preparing.segments import OBSERVED, SEGMENT, STEP
from lstm_ray.data.scaling import units
from lstm_ray.data.schema import Role, Scaler, Schema
from lstm_ray.data.timeline.grid import SERIES
from lstm_ray.data.windows import Segments, rows_of
from lstm_ray.run_dir import RunDir

SEGMENTS = "segments"
"""The directory of Parquet files inside the preprocess stage's."""
INDEX, DEALT = "index.parquet", "dealt.parquet"
FILE, FILE_ROW, NUM_STEPS, FIRST_STEP, PART = "file", "file_row", "num_steps", "first_step", "part"
"""Columns of the index beside series and segment: where a piece of a segment lies, and since when it has how many steps."""


class SplitFile(BaseModel):
    """What of ``split/boundaries.json`` is read again."""

    parts: Boundaries


def load_segments(run: RunDir, *, filled: bool = True) -> tuple[Segments, Boundaries]:
    """All segments of a run, in the data's own units, and the split's boundaries. Large arrays lie on disk (``room``).

    Args:
        filled: what precedes a column's first value becomes the training part's mean, as scaling would make it; else it
            stays missing, for ``with_typical`` of another training part.

    Raises InputError where files are missing or damaged.
    """
    schema, scaler = load_schema(run), load_scaler(run)
    index = read_index(run)
    shell, row_P = laid_out(index, schema)
    segments, cycles = with_room(shell), Cycles(schema)
    columns = columns_of(schema)
    columns = columns if scaler.series is None else [SERIES, *columns]
    with run.local_copy("preprocess") as path:
        for file, target in _by_file(index, row_P):
            fill(segments, _chunks(path / SEGMENTS / file, run, columns), target, scaler if filled else None, cycles)
    return segments, run.read_model("split/boundaries.json", SplitFile).parts


def load_index(run: RunDir) -> Segments:
    """Where the segments of a run begin and end and, for labels of steps, the labels; no values."""
    schema = load_schema(run)
    index = read_index(run)
    shell, row_P = laid_out(index, schema)
    if schema.label is None:
        return shell
    label_R = room.empty([shell.bounds[-1]], np.float32)
    with run.local_copy("preprocess") as path:
        for file, target in _by_file(index, row_P):
            done = 0
            for chunk in _chunks(path / SEGMENTS / file, run, [schema.label]):
                label_R[target[done : done + chunk.height]] = _labels(chunk, schema)
                done += chunk.height
    return replace(shell, label_R=label_R)


def read_segments(run: RunDir) -> pl.DataFrame:
    """The whole table that ``make_segments`` gave. Raises InputError where its files are missing or damaged."""
    with run.local_copy("preprocess") as path:
        try:
            return pl.read_parquet(path / SEGMENTS / "*.parquet")
        except (pl.exceptions.PolarsError, OSError) as error:
            raise run.damaged(f"preprocess/{SEGMENTS}", str(error).partition("\n")[0]) from None


def _by_file(index: pl.DataFrame, row_P: NDArray) -> Iterator[tuple[str, NDArray]]:
    """Every file, and the rows of the arrays that its own rows become, in order."""
    end_P = row_P + index[NUM_STEPS].to_numpy()
    pieces = index.select(FILE, FILE_ROW).with_row_index("piece").sort(FILE, FILE_ROW)
    for (file,), own in pieces.group_by(FILE, maintain_order=True):
        piece_P = own["piece"].to_numpy()
        yield str(file), rows_of(np.column_stack([row_P[piece_P], end_P[piece_P]]))


def read_index(run: RunDir) -> pl.DataFrame:
    """Every piece of every segment, with the part of its series where these were dealt."""
    with run.local_copy("preprocess") as path:
        try:
            index = pl.read_parquet(path / INDEX)
            dealt = pl.read_parquet(path / DEALT, columns=[SERIES, PART]) if (path / DEALT).exists() else None
        except (pl.exceptions.PolarsError, OSError) as error:
            raise run.damaged(f"preprocess/{INDEX}", str(error).partition("\n")[0]) from None
    return index if dealt is None else index.join(dealt, on=SERIES, how="left", maintain_order="left")


def load_schema(run: RunDir) -> Schema:
    return run.read_model("preprocess/schema.json", Schema)


def load_scaler(run: RunDir) -> Scaler:
    return run.read_model("preprocess/scaler.json", Scaler)


def index_of(frame: pl.DataFrame, constant: Sequence[str]) -> pl.DataFrame:
    """The index of one table of segments but for its file, its rows in order within each segment.

    Args:
        constant: columns that do not change in a series: categories, and the class of a whole sequence.
    """
    head = frame.select(_begins().arg_true()).to_series()
    ends = pl.concat([head[1:], pl.Series([frame.height], dtype=head.dtype)]) if len(head) else head
    return frame[head].select(
        head.cast(pl.Int64).alias(FILE_ROW),
        (ends - head).cast(pl.Int64).alias(NUM_STEPS),
        pl.col(STEP).alias(FIRST_STEP),
        SERIES,
        SEGMENT,
        *(pl.col(c) for c in constant),
    )


def _begins() -> pl.Expr:
    """Rows at which another segment begins."""
    other = (pl.col(SERIES) != pl.col(SERIES).shift()) | (pl.col(SEGMENT) != pl.col(SEGMENT).shift())
    return other.fill_null(True)


def to_segments(frame: pl.DataFrame, schema: Schema) -> Segments:
    """A table of segments (``make_segments``) as flat arrays, ordered by series, or by first step (classify)."""
    frame = frame.sort(SERIES, SEGMENT, STEP)
    classes = [] if schema.label or not schema.classes else [_class_column(frame, schema)]
    index = index_of(frame, [*schema.categories, *classes]).with_columns(pl.lit("").alias(FILE))
    shell, row_P = laid_out(index, schema)
    segments = with_room(shell)
    rows = rows_of(np.column_stack([row_P, row_P + index[NUM_STEPS].to_numpy()]))
    fill(segments, [frame], rows, None, Cycles(schema))
    return segments


def laid_out(index: pl.DataFrame, schema: Schema) -> tuple[Segments, NDArray]:
    """All segments without values, and the row at which each piece of the index begins, int64 [pieces].

    Segments lie in the order of their files, so that large ones are filled from end to end; sequences to classify in that
    of their first steps.
    """
    index = index.with_row_index("_piece").sort(FIRST_STEP, maintain_order=True)
    place = [pl.col(name).first().over(SERIES, SEGMENT).alias(f"_{name}") for name in (FILE, FILE_ROW)]
    order = [f"_{FILE}", f"_{FILE_ROW}", FIRST_STEP]
    if schema.classes and schema.label is None:
        place.append(pl.col(FIRST_STEP).min().over(SERIES).alias("_first"))
        order = ["_first", *order]
    index = index.with_columns(place).sort(order)
    ends = np.cumsum(index[NUM_STEPS].to_numpy())
    row_P = np.empty(index.height, dtype=np.int64)
    row_P[index["_piece"].to_numpy()] = ends - index[NUM_STEPS].to_numpy()
    first = index.select(_begins().arg_true()).to_series().to_numpy()
    heads = index[first]
    label = None
    if schema.classes and schema.label is None:
        (name,) = set(heads.columns) - {*_OWN, *schema.categories}
        label = heads[name].cast(pl.Enum(schema.classes)).to_physical().to_numpy().astype(np.int64)
    part_S = None
    if PART in heads.columns:
        part_S = heads[PART].cast(pl.Enum(PARTS)).to_physical().cast(pl.Int8).fill_null(-1).to_numpy()
    none = np.empty((0, 0), dtype=np.float32)
    shell = Segments(
        target_RC=none,
        observed_RC=none,
        past_RP=none,
        known_RK=none,
        bounds=np.append(row_P[index["_piece"].to_numpy()[first]], ends[-1] if len(ends) else 0).astype(np.int64),
        series=heads[SERIES].to_list(),
        first_step=heads[FIRST_STEP].to_numpy().astype(np.int64),
        label=label,
        schema=schema,
        category_SK=_codes(heads, schema),
        part_S=part_S,
    )
    return shell, row_P


_OWN = {FILE, FILE_ROW, NUM_STEPS, FIRST_STEP, SERIES, SEGMENT, PART, "_piece", "_first", f"_{FILE}", f"_{FILE_ROW}"}


def with_room(shell: Segments) -> Segments:
    """The same segments with arrays to be filled."""
    schema, rows = shell.schema, int(shell.bounds[-1])
    return replace(
        shell,
        target_RC=room.empty([rows, len(schema.target)], np.float32),
        observed_RC=room.empty([rows, len(schema.observed)], np.float32),
        past_RP=room.empty([rows, len(schema.past)], np.float32),
        known_RK=room.empty([rows, schema.num_known], np.float32),
        label_R=None if schema.label is None else room.empty([rows], np.float32),
        weight_R=None if schema.weight is None else room.empty([rows], np.float32),
    )


def fill(
    segments: Segments, chunks: Iterable[pl.DataFrame], rows: NDArray, scaler: Scaler | None, cycles: Cycles
) -> None:
    """Write tables of segments, one after the other, into the arrays' rows.

    Args:
        scaler: what precedes a column's first value becomes the training part's mean, as scaling would make it; None: it
            stays missing.
    """
    schema, done = segments.schema, 0
    for chunk in chunks:
        to = rows[done : done + chunk.height]
        done += chunk.height
        in_a_row = len(to) > 0 and bool((np.diff(to) == 1).all())
        own = slice(int(to[0]), int(to[-1]) + 1) if in_a_row else to
        num_known = len(schema.known)
        columns: dict[Role, tuple[NDArray, list[str]]] = {
            "target": (segments.target_RC, schema.target),
            "past": (segments.past_RP, schema.past),
            "known": (segments.known_RK[:, :num_known], schema.known),
        }
        for role, (array, names) in columns.items():
            values = _floats(chunk, names)
            if scaler is not None and np.isnan(values).any():
                typical = _typical_targets(chunk, scaler) if role == "target" else scaler.centre(role)
                values = np.where(np.isnan(values), np.asarray(typical, dtype=np.float32), values)
            array[own] = values
        segments.observed_RC[own] = _floats(chunk, [OBSERVED + c for c in schema.observed])
        segments.known_RK[own, num_known:] = cycles.of(chunk[STEP].to_numpy())
        if segments.label_R is not None:
            segments.label_R[own] = _labels(chunk, schema)
        if segments.weight_R is not None:
            segments.weight_R[own] = _floats(chunk, [str(schema.weight)])[:, 0]
        room.let_go(segments.target_RC, segments.past_RP, segments.known_RK, segments.observed_RC)


def with_typical(segments: Segments, scaler: Scaler) -> Segments:
    """Segments that were not filled as ``load_segments`` fills them, by another scaler; arrays that miss nothing are shared."""
    num_known = len(segments.schema.known)
    found: dict[str, Any] = {}
    for name, role, width in (
        ("target_RC", "target", None),
        ("past_RP", "past", None),
        ("known_RK", "known", num_known),
    ):
        array = getattr(segments, name)
        missing_R = np.isnan(array[:, :width]).any(axis=1)
        if not missing_R.any():
            continue
        rows = np.flatnonzero(missing_R)
        typical = np.asarray(scaler.centre(role), dtype=np.float32)  # type: ignore[arg-type]
        if role == "target" and scaler.series is not None:
            typical = units.centres([segments.series[s] for s in segments.series_of(rows)], scaler)
        found[name] = array.copy()
        found[name][rows, :width] = np.where(np.isnan(array[rows, :width]), typical, array[rows, :width])
    return replace(segments, **found)


class Cycles:
    """Calendar features of steps, those of a stretch computed once where many series share it."""

    def __init__(self, schema: Schema) -> None:
        self._schema, self._first = schema, 0
        self._every = self._features(np.arange(0))

    def of(self, steps: NDArray) -> NDArray:
        """float32, a row per step."""
        first, end = (int(steps.min()), int(steps.max()) + 1) if len(steps) else (0, 0)
        if end - first > len(steps):
            return self._features(steps)
        known_first, known_end = self._first, self._first + len(self._every)
        if not known_first <= first <= end <= known_end:
            if known_first < known_end and max(end, known_end) - min(first, known_first) <= 4 * room.CHUNK_ROWS:
                first, end = min(first, known_first), max(end, known_end)
            self._first, self._every = first, self._features(np.arange(first, end))
        return self._every.take(steps - self._first, axis=0)

    def _features(self, steps: NDArray) -> NDArray:
        return self._schema.calendar_features(self._schema.times(steps))


def columns_of(schema: Schema) -> list[str]:
    """What ``fill`` reads of a table of segments."""
    observed = [OBSERVED + c for c in schema.observed]
    others = [name for name in (schema.label, schema.weight) if name]
    return [STEP, *schema.target, *schema.past, *schema.known, *observed, *others]


def _chunks(file: Path, run: RunDir, columns: list[str]) -> Iterator[pl.DataFrame]:
    """A file of segments, some rows at a time. Raises InputError where it is missing or damaged."""
    try:
        with pq.ParquetFile(file) as whole:
            for batch in whole.iter_batches(room.CHUNK_ROWS, columns=columns):
                yield pl.DataFrame(batch)
    except (OSError, ValueError) as error:
        raise run.damaged(f"preprocess/{SEGMENTS}/{file.name}", str(error).partition("\n")[0]) from None


def _typical_targets(chunk: pl.DataFrame, scaler: Scaler) -> list[float] | np.ndarray:
    """What stands for a missing target: of each column, or in each row where series have units of their own."""
    if scaler.series is None:
        return scaler.centre("target")
    names, of_row = np.unique(chunk[SERIES].to_numpy(), return_inverse=True)
    return units.centres(names.tolist(), scaler)[of_row]


def _class_column(frame: pl.DataFrame, schema: Schema) -> str:
    """The column that holds the class of a whole sequence: the one that is nothing else."""
    known = {SERIES, SEGMENT, STEP, schema.weight, *schema.past, *schema.categories}
    (name,) = {column for column in frame.columns if not column.startswith(OBSERVED)} - known
    return name


def _labels(frame: pl.DataFrame, schema: Schema) -> NDArray:
    """Class or value of each step, float32 [R]; NaN where it has none."""
    assert schema.label is not None
    own = frame[schema.label]
    codes = own.cast(pl.Enum(schema.classes)).to_physical() if schema.classes else own
    return codes.cast(pl.Float32).fill_null(np.nan).to_numpy()


def _codes(heads: pl.DataFrame, schema: Schema) -> NDArray:
    """Each segment's categorical values as codes, int64 [S, K]; 0 where the training part does not hold the value."""
    codes = np.zeros((heads.height, len(schema.categories)), dtype=np.int64)
    for k, (column, values) in enumerate(schema.categories.items()):
        code = {value: index for index, value in enumerate(values, 1)}
        codes[:, k] = [code.get(value, 0) for value in heads[column]]
    return codes


def _floats(frame: pl.DataFrame, columns: list[str]) -> NDArray:
    if not columns:
        return np.empty((frame.height, 0), dtype=np.float32)
    return frame.select(pl.col(columns).cast(pl.Float32)).to_numpy(order="c")
