"""One file of any format: its columns, how it can be cut, and some of its columns. Knows nothing of roles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pa_parquet
from pyarrow import fs

from lstm_ray.data.source import delimited
from lstm_ray.data.source.delimited import Head, Types
from lstm_ray.data.source.places import File, refused_by_name
from lstm_ray.errors import InputError

FORMATS = {
    ".csv": "csv",
    ".csv.gz": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "ipc",
    ".feather": "ipc",
}
NUMBER_BYTES, TEXT_BYTES = 8, 24
"""Of a value in memory, about."""


@dataclass(frozen=True)
class Look:
    """What a file tells without its values."""

    schema: pa.Schema
    """Its own columns; those of a text file by what its first rows look like."""
    head: Head | None = None
    """Of a text file."""
    group_rows: tuple[int, ...] = ()
    """Rows of each row group (Parquet)."""
    num_batches: int | None = None
    """Of an Arrow file; none: of any other, and of a stream, which cannot be cut."""


@dataclass(frozen=True)
class Span:
    """A run of a file's rows: row groups or record batches (Parquet, Arrow), bytes (text), or with None all of it."""

    first: int | None
    end: int | None
    num_rows: int | None
    num_bytes: int


def format_of(file: File) -> str:
    """Raises InputError where the name's ending is none of FORMATS."""
    if file.suffix not in FORMATS:
        raise InputError(
            f"'{file.name}' ends in '{file.suffix}', which is no known format; use one of {', '.join(FORMATS)}"
        )
    return FORMATS[file.suffix]


def look(file: File) -> Look:
    """Raises InputError where the file is empty, cut off, not of its format, or names a column twice."""
    kind = format_of(file)
    if not file.size:
        raise InputError(f"'{file.name}' is empty; name files that hold data")
    if kind == "csv":
        head, schema = delimited.look(file)
        return Look(schema, head)
    if kind == "parquet":
        with _parquet(file) as opened:
            groups = tuple(opened.metadata.row_group(i).num_rows for i in range(opened.num_row_groups))
            return Look(opened.schema_arrow, group_rows=groups)
    with _ipc(file) as reader:
        num = reader.num_record_batches if isinstance(reader, pa.RecordBatchFileReader) else None
        return Look(reader.schema, num_batches=num)


def spans(file: File, found: Look, types: Types, target_bytes: int) -> list[Span]:
    """A file in runs of about so many bytes in memory, in order, for the columns that are wanted."""
    if found.head is not None:
        cuts = delimited.ranges(file, found.head, target_bytes)
        return [Span(first, end, None, file.size if end is None else end - (first or 0)) for first, end in cuts]
    row = sum(TEXT_BYTES if kind == pa.string() else NUMBER_BYTES for kind in types.values())
    if format_of(file) == "parquet":
        return [
            Span(first, end, rows, rows * row) for first, end, rows in _joined(found.group_rows, target_bytes // row)
        ]
    if not found.num_batches:
        return [Span(None, None, 0 if found.num_batches == 0 else None, file.size)]
    each = max(1, file.size // found.num_batches)
    step = max(1, target_bytes // each)
    starts = range(0, found.num_batches, step)
    return [Span(i, min(i + step, found.num_batches), None, min(step, found.num_batches - i) * each) for i in starts]


def read(file: File, head: Head | None, types: Types, first: int | None, end: int | None) -> pa.Table:
    """Columns of a span: those of a text file as these types, others as the file has them.

    Raises InputError, and delimited.WrongValueError.
    """
    if format_of(file) == "csv":
        return delimited.read(file, head or delimited.look(file)[0], types, first, end)
    names = list(types)
    if format_of(file) == "parquet":
        # Words that repeat are kept once until they are cast: half the time of reading them one by one.
        words = [name for name, kind in types.items() if kind == pa.string()]
        with _parquet(file, words) as opened:
            groups = range(opened.num_row_groups) if first is None or end is None else range(first, end)
            return opened.read_row_groups(list(groups), columns=names).select(names)
    with _ipc(file) as reader:
        if first is None or end is None:
            found = reader.read_all().select(names)
        else:
            batches = [reader.get_batch(i).select(names) for i in range(first, end)]
            found = pa.Table.from_batches(batches, schema=pa.schema([reader.schema.field(name) for name in names]))
        # Its buffers are the file's own bytes: offsets that were altered would lead whoever reads the table out of them.
        found.validate(full=True)
        return found


def batches(file: File, column: str) -> Iterator[pa.ChunkedArray]:
    """One column from the first row on, a part at a time: that of a text file as text."""
    found = look(file)
    if found.head is not None:
        yield from delimited.batches(file, found.head, column)
        return
    for span in spans(file, found, {column: pa.float64()}, NUMBER_BYTES * 1_000_000):
        yield read(file, None, {column: pa.float64()}, span.first, span.end)[column]


def _joined(group_rows: tuple[int, ...], most: int) -> Iterator[tuple[int, int, int]]:
    """Runs of row groups of at most so many rows, or of one group: first, end, rows."""
    first = rows = 0
    for i, num in enumerate(group_rows):
        if rows and rows + num > most:
            yield first, i, rows
            first = i
            rows = 0
        rows += num
    if rows:
        yield first, len(group_rows), rows


@contextmanager
def _parquet(file: File, words: list[str] | None = None) -> Iterator[pa_parquet.ParquetFile]:
    is_far = not isinstance(file.filesystem, fs.LocalFileSystem)
    with refused_by_name(file), file.filesystem.open_input_file(file.path) as stream:
        yield pa_parquet.ParquetFile(stream, pre_buffer=is_far, read_dictionary=words)


@contextmanager
def _ipc(file: File) -> Iterator[pa.RecordBatchFileReader | pa.RecordBatchStreamReader]:
    """An Arrow file, or a stream under the same name."""
    with refused_by_name(file), file.filesystem.open_input_file(file.path) as stream:
        is_file = stream.read(6) == b"ARROW1"
        stream.seek(0)
        yield pa.ipc.open_file(stream) if is_file else pa.ipc.open_stream(stream)
