"""The files of a source, and sources that cannot be cut into rows: examples, *.ts files, tables with a row for each series.

Knows which files belong together; knows nothing of what their columns are read as.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa

from lstm_ray.data.source import delimited, download, drift, examples, formats, places, ts, wide
from lstm_ray.data.source.places import File, refused_by_name
from lstm_ray.errors import InputError
from lstm_ray.sections.data import OWN_TIME, TIME_DELTA, DataConfig

EXAMPLE = "example:"
UNNAMED, WIDE_TARGET = "series_name", "value"
"""Columns of a wide table that nobody named: its series and their values."""


def locate(data: DataConfig) -> list[File]:
    """Every file of the source, globs expanded, sorted by path. Raises InputError where nothing is found."""
    if is_example(data):
        paths = examples.files(str(data.source).removeprefix(EXAMPLE))
        return [file for path in paths for file in places.find(str(path))]
    found: list[File] = []
    for source in _sources(data):
        matches = places.find(source)
        if not matches:
            raise InputError(f"data.source '{source}' names no file; check the path (relative to {Path.cwd()})")
        found += matches
    if data.is_ts and len(found) != len(_sources(data)):
        names = [Path(file.path).name for file in found]
        raise InputError(f"data.source {data.source!r} names {names}; write [TRAIN.ts, TEST.ts], the test file last")
    return found


def stamp(data: DataConfig) -> list[list[str | int]]:
    """What tells one version of the files from another: name, size and version of each (of an address what its server
    tells), those of data.static_source last. Downloads nothing it need not."""
    found: list[list[str | int]] = []
    for source in [*_sources(data), *([data.static_source] if data.static_source else [])]:
        if download.is_address(source):
            found.append([source, download.version(source)])
        else:
            found += [
                [file.name, file.size, file.version] for file in locate(data.model_copy(update={"source": source}))
            ]
    return found


def scan(data: DataConfig) -> list[drift.Seen]:
    """Its files and what they tell without their values. Raises InputError where one cannot be read."""
    seen = drift.scan(locate(data))
    if data.irregular == "time_delta" and any(TIME_DELTA in one.schema for one in seen):
        raise InputError(f"column '{TIME_DELTA}' is made up by data.irregular: time_delta; rename yours in the source")
    return seen


def whole(data: DataConfig) -> pa.Table:
    """A source that cannot be cut, put together. Raises InputError where its files do not fit or cannot be read."""
    if is_example(data):
        return examples.table(str(data.source).removeprefix(EXAMPLE))
    if data.is_ts:
        return ts.to_long([(file.name, _text(file)) for file in locate(data)])
    tables = [(file.name, _read_wide(file)) for file in locate(data)]
    return wide.to_long(tables, *data.series_id, *data.target)


def named_columns(data: DataConfig) -> list[tuple[str, list[str]]]:
    """Each file of a source that cannot be cut, and its columns."""
    if is_example(data):
        name = str(data.source).removeprefix(EXAMPLE)
        examples.files(name)
        return [(str(data.source), examples.COLUMNS[name])]
    return [(file.name, names_in(file, data)) for file in locate(data)]


def names_in(file: File, data: DataConfig) -> list[str]:
    """The columns of a .ts file, or of a table with a row for each series, once it is long."""
    if data.is_ts:
        return ts.header(file.name, _text(file).splitlines()).columns
    is_text = formats.format_of(file) == "csv"
    first = delimited.first_name(file) if is_text else formats.look(file).schema.names[0]
    target = data.target or [WIDE_TARGET]
    return [UNNAMED if first in ("", OWN_TIME, *target) else first, OWN_TIME, *target]


def _read_wide(file: File) -> pl.DataFrame:
    """All columns of a table with a row for each series; those of a text file as text."""
    if formats.format_of(file) == "csv":
        return delimited.read_uneven(file)
    names = formats.look(file).schema.names
    return pl.DataFrame(formats.read(file, None, dict.fromkeys(names), None, None))


def _text(file: File) -> str:
    with refused_by_name(file), file.filesystem.open_input_stream(file.path) as stream:
        return str(stream.read(), "utf-8-sig")


def _sources(data: DataConfig) -> list[str]:
    return [data.source] if isinstance(data.source, str) else data.source


def is_example(data: DataConfig) -> bool:
    return isinstance(data.source, str) and data.source.startswith(EXAMPLE)


def is_whole(data: DataConfig) -> bool:
    """The source cannot be cut into runs of rows: it is put together from all of its files."""
    return is_example(data) or data.is_ts or data.layout == "wide"
