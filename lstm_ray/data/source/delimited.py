"""Text files of delimited columns, gzip included, in parts that begin and end at line ends. Knows nothing of roles."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import IO

import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv

from lstm_ray.data.source.examples import NULLS
from lstm_ray.data.source.places import File, one_line, refused_by_name
from lstm_ray.errors import InputError

DELIMITERS = (",", ";", "\t", "|")
SAMPLE_BYTES = 1 << 16
"""Read of a file to learn its columns and what their values look like."""
LONGEST_LINE = 1 << 26
STEP_BYTES = 1 << 16
BLOCK_BYTES, LINE_BYTES = 1 << 20, 1 << 15
"""Parsed at a time; and what a long line counts as, of which a thousand are."""
Types = Mapping[str, pa.DataType | None]
"""What columns are read as; None: as their values look."""
QUOTE = b'"'
GZIP = b"\x1f\x8b"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
ZIP = b"PK\x03\x04"
EXCEL_SEPARATOR = re.compile(rb"(?:\xef\xbb\xbf)?sep=(.)\r?\n")
"""A first line that is no header: it tells a spreadsheet what stands between values."""
DECIMAL_COMMA = r"^\s*([+-]?\d+),(\d+(?:[eE][+-]?\d+)?)\s*$"
SPACED = r"^\s*([+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)\s*$"
DECIMAL_POINT = r"^\s*[+-]?\d+\.\d+(?:[eE][+-]?\d+)?\s*$"
LINES_LOOKED_AT = 200
FIRST_UNNAMED = "column_0"
"""A first column without a name: an index that was written along, which often is the time."""


class WrongValueError(ValueError):
    """A value that is not of the type asked for; whoever reads knows what the type was for and says so."""


@dataclass(frozen=True)
class Head:
    """What the beginning of a file tells."""

    names: tuple[str, ...]
    delimiter: str
    end: int
    """Bytes before the first row, once decompressed."""
    is_gzip: bool
    is_quoted: bool
    """Some of the first values are in quotes, so any may hold a line break."""
    decimal: str = "."
    """What stands before the decimals of numbers; a comma where the first rows show no other."""


def look(file: File) -> tuple[Head, pa.Schema]:
    """The header, and the types that the first rows look like. Raises InputError where the file is empty or no table."""
    head, rows = _begun(file)
    return head, _parsed(file, head, pa.BufferReader(rows), None).schema


def first_name(file: File) -> str:
    """The name of the first column, "" without one, whatever the rows are like. Raises InputError where the file is empty."""
    name = _begun(file)[0].names[0]
    return "" if name == FIRST_UNNAMED else name


def read_uneven(file: File) -> pl.DataFrame:
    """All columns as text, of a file whose lines may end early. Raises InputError where one is longer than the header."""
    head, _ = _begun(file)
    try:
        with _opened(file) as (stream, _):
            text = stream.read()
            skipped = text[: head.end].count(b"\n") - 1 if EXCEL_SEPARATOR.match(text) else 0
            table = pl.read_csv(
                text, separator=head.delimiter, infer_schema=False, null_values=NULLS, skip_lines=skipped
            )
            return with_points(table) if head.decimal == "," else table
    except pl.exceptions.PolarsError as error:
        raise InputError(f"'{file.name}' cannot be read: {one_line(error)}; mend it, or fetch it anew") from None


def _begun(file: File) -> tuple[Head, bytes]:
    """The header and the first whole rows."""
    with _opened(file) as (stream, is_gzip):
        sample = stream.read(SAMPLE_BYTES)
        while (
            b"\n" not in sample.lstrip(b"\r\n") and len(sample) < LONGEST_LINE and (more := stream.read(SAMPLE_BYTES))
        ):
            sample += more
        whole = not stream.read(1)
    if not sample.strip():
        raise InputError(f"'{file.name}' is empty; name files that hold data")
    if sample.startswith(UTF_16):
        raise InputError(f"'{file.name}' is UTF-16 text; save it as UTF-8 (in a spreadsheet: CSV UTF-8)")
    if sample.startswith(ZIP):
        raise InputError(f"'{file.name}' is a ZIP archive or a workbook; unpack it, or save its sheet as CSV UTF-8")
    told = EXCEL_SEPARATOR.match(sample)
    begin = told.end() if told else len(sample) - len(sample.lstrip(b"\r\n"))
    end = sample.find(b"\n", begin) + 1 or len(sample)
    rows = sample[end:] if whole else _whole_lines(sample[end:])
    try:
        line = sample[begin:end].decode("utf-8-sig").rstrip("\r\n")
        shown = rows.decode("utf-8", errors="replace").splitlines()[:LINES_LOOKED_AT]
        delimiter = told[1].decode() if told else _delimiter(line, shown[0] if shown else "")
        names = next(csv.reader([line], delimiter=delimiter))
        decimal = _decimal(shown, delimiter)
    except UnicodeDecodeError as error:
        raise InputError(f"'{file.name}' is no UTF-8 text: {error}; save it as UTF-8") from None
    except csv.Error as error:
        raise InputError(
            f"the header of '{file.name}' cannot be read: {error}; write it in one line that ends in \\n"
        ) from None
    if len(names) > 1 and not names[0]:
        names[0] = FIRST_UNNAMED
    return Head(tuple(names), delimiter, end, is_gzip, QUOTE in sample, decimal), rows


def _delimiter(header: str, row: str) -> str:
    """The sign that cuts header and first row into as many values, the most; where none does, the commonest in the header."""
    bare = [re.sub(r'"[^"]*"', "", line) for line in (header, row)]
    inside = [sign for sign in DELIMITERS if sign in bare[0]]
    agreeing = [sign for sign in inside if bare[0].count(sign) == bare[1].count(sign)]
    return max(agreeing or inside, key=bare[0].count, default=",")


def _decimal(rows: list[str], delimiter: str) -> str:
    """A comma where some of the first values have decimals after one, and none after a point."""
    if delimiter == ",":
        return "."
    values = [value for row in csv.reader(rows, delimiter=delimiter) for value in row]
    commas, points = (any(re.match(form, v) for v in values) for form in (DECIMAL_COMMA, DECIMAL_POINT))
    return "," if commas and not points else "."


def with_points(table: pl.DataFrame) -> pl.DataFrame:
    """Text with the decimal commas of numbers made points, and no spaces around numbers."""
    text = pl.col(pl.String).str
    return table.with_columns(text.replace(DECIMAL_COMMA, "$1.$2").str.replace(SPACED, "$1"))


def _whole_lines(rows: bytes) -> bytes:
    """The rows up to the last line break that is not inside quotes."""
    end = rows.rfind(b"\n")
    while end > 0 and rows.count(QUOTE, 0, end) % 2:
        end = rows.rfind(b"\n", 0, end)
    return rows[: end + 1]


def read(file: File, head: Head, types: Types, first: int | None, end: int | None) -> pa.Table:
    """Columns of the rows in a range of bytes, None: of all, as these types.

    Raises InputError where a line has too few or too many columns, and WrongValueError.
    """
    with _opened(file) as (stream, _):
        if first is None:
            stream.read(head.end)
            return _parsed(file, head, stream, types)
        stream.seek(first)
        rows = stream.read((end or file.size) - first)
        if not head.is_quoted and rows.count(QUOTE) % 2:
            raise InputError(
                f"'{file.name}' has quotes after byte {first}, and none in its first rows, so that a line break inside them "
                "was not looked for; quote all values, or convert the file to Parquet"
            )
        return _parsed(file, head, pa.BufferReader(rows), types, QUOTE in rows)


def batches(file: File, head: Head, column: str) -> Iterator[pa.ChunkedArray]:
    """One column as text, from the first row on, a part at a time."""
    with _opened(file) as (stream, _):
        stream.read(head.end)
        with refused_by_name(file), _open_reader(head, stream, {column: pa.string()}) as reader:
            for batch in reader:
                yield pa.chunked_array([batch.column(0)])


def ranges(file: File, head: Head, target_bytes: int) -> list[tuple[int | None, int | None]]:
    """Where to cut a file into parts of about so many bytes, each between two line ends; (None, None): it cannot be cut."""
    if head.is_gzip:
        return [(None, None)]
    with refused_by_name(file), file.filesystem.open_input_file(file.path) as stream:
        cuts = [head.end]
        while cuts[-1] + target_bytes < file.size:
            cuts.append(_next_line(stream, cuts[-1], target_bytes, file.size, head.is_quoted))
    if cuts[-1] < file.size:
        cuts.append(file.size)
    return list(pairwise(cuts))


def _next_line(stream: pa.NativeFile, first: int, num_bytes: int, size: int, is_quoted: bool) -> int:
    """The first byte of a line, some bytes or more after that of another; not of one that goes on inside quotes."""
    position, is_inside = first, False
    if is_quoted:
        stream.seek(first)
        while position < first + num_bytes:
            block = stream.read(min(STEP_BYTES, first + num_bytes - position))
            is_inside ^= block.count(QUOTE) % 2 == 1
            position += len(block)
    position = first + num_bytes
    stream.seek(position)
    while position < size and (block := stream.read(STEP_BYTES)):
        begin = 0
        while (at := block.find(b"\n", begin)) >= 0:
            is_inside ^= is_quoted and block.count(QUOTE, begin, at) % 2 == 1
            begin = at + 1
            if not is_inside:
                return position + begin
        is_inside ^= is_quoted and block.count(QUOTE, begin) % 2 == 1
        position += len(block)
    return size


@contextmanager
def _opened(file: File) -> Iterator[tuple[pa.NativeFile, bool]]:
    """The file's text from its start, decompressed where it begins as gzip does, whatever its name."""
    with refused_by_name(file), file.filesystem.open_input_file(file.path) as stream:
        is_gzip = stream.read(2) == GZIP
        stream.seek(0)
        if is_gzip:
            with pa.CompressedInputStream(stream, "gzip") as plain:
                yield plain, True
        else:
            yield stream, False


def _parsed(
    file: File, head: Head, stream: IO | pa.NativeFile, types: Types | None, is_quoted: bool = True
) -> pa.Table:
    try:
        return pa_csv.read_csv(stream, *_options(head, types, is_quoted))
    except pa.ArrowInvalid as error:
        text = str(error)
        if "Empty CSV" in text:
            names = list(types) if types is not None else list(head.names)
            return pa.table({name: pa.array([], (types or {}).get(name) or pa.null()) for name in dict.fromkeys(names)})
        if "Expected" in text and "columns" in text:
            raise InputError(_ragged(file, head, text)) from None
        if "In CSV column" in text and "UTF8" not in text:
            raise WrongValueError(text) from None
        if "UTF8" in text:
            raise InputError(f"'{file.name}' is no UTF-8 text: {text.splitlines()[0]}; save it as UTF-8") from None
        raise


def _open_reader(head: Head, stream: pa.NativeFile, types: Types) -> pa_csv.CSVStreamingReader:
    return pa_csv.open_csv(stream, *_options(head, types))


def _options(
    head: Head, types: Types | None, is_quoted: bool = True
) -> tuple[pa_csv.ReadOptions, pa_csv.ParseOptions, pa_csv.ConvertOptions]:
    chosen = (
        {}
        if types is None
        else {"column_types": {k: v for k, v in types.items() if v is not None}, "include_columns": list(types)}
    )
    return (
        # A block has to hold a line; with many columns, few lines a block would leave thousands of crumbs in each.
        pa_csv.ReadOptions(column_names=list(head.names), block_size=max(BLOCK_BYTES, min(head.end, LINE_BYTES) << 10)),
        pa_csv.ParseOptions(delimiter=head.delimiter, newlines_in_values=is_quoted),
        pa_csv.ConvertOptions(null_values=NULLS, strings_can_be_null=True, decimal_point=head.decimal, **chosen),
    )


def _ragged(file: File, head: Head, text: str) -> str:
    """Arrow's words for a line with too few or too many columns, with what to do."""
    line = text.removeprefix("CSV parse error: ").splitlines()[0]
    if len(head.names) == 1:
        above = f"its header is {head.names[0]!r}: remove what stands above the names of the columns"
        return f"'{file.name}' cannot be read: {line}; {above}"
    return f"'{file.name}' cannot be read: {line}; mend that line, or fetch the file anew where it was cut off"
