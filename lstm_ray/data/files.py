"""Raw files as one typed table. Knows formats, filesystems and column roles; knows nothing of grids or windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.dataset as pa_dataset
from pyarrow import fs

from lstm_ray.config import Config, parse
from lstm_ray.data import download, examples, ts, wide
from lstm_ray.errors import InputError, nearest
from lstm_ray.sections.data import OWN_TIME, DataConfig

FORMATS = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet", ".arrow": "ipc", ".feather": "ipc"}
EXAMPLE = "example:"
MAX_CLASSES = 20
"""Different whole numbers that labels may take and still be classes (data.label_kind: auto)."""
UNNAMED, WIDE_TARGET = "series_name", "value"
"""Columns of a wide table that nobody named: its series and their values."""


@dataclass(frozen=True)
class File:
    """One file of a source."""

    filesystem: fs.FileSystem
    path: str
    """Inside the filesystem."""
    name: str
    """As people know it: the address where it was downloaded."""
    size: int
    """Bytes."""
    version: str | int
    """What tells one version of the file from another, beside its size."""


def locate(data: DataConfig) -> list[File]:
    """Every file of the source, globs expanded, sorted by path. Raises InputError where nothing is found."""
    if _is_example(data):
        paths = examples.files(str(data.source).removeprefix(EXAMPLE))
        local = fs.LocalFileSystem()
        return [_file(local, info) for info in local.get_file_info([str(path) for path in paths])]
    found: list[File] = []
    for source in _sources(data):
        matches = _expand(source)
        if not matches:
            raise InputError(f"data.source '{source}' names no file; check the path (relative to {Path.cwd()})")
        found += matches
    if data.is_ts and len(found) != len(_sources(data)):
        names = [Path(file.path).name for file in found]
        raise InputError(f"data.source {data.source!r} names {names}; write [TRAIN.ts, TEST.ts], the test file last")
    return found


def stamp(data: DataConfig) -> list[list[str | int]]:
    """What tells one version of the files from another: name, size and version of each. Downloads nothing it need not."""
    found: list[list[str | int]] = []
    for source in _sources(data):
        if download.is_address(source):
            found.append([source, download.version(source)])
        else:
            files = locate(data.model_copy(update={"source": source}))
            found += [[file.name, file.size, file.version] for file in files]
    return found


def header(data: DataConfig) -> list[str]:
    """The columns that every file has. Raises InputError where a role's column is missing, naming the file."""
    if _is_example(data):
        name = str(data.source).removeprefix(EXAMPLE)
        examples.files(name)
        _require(data, examples.COLUMNS[name], str(data.source))
        return examples.COLUMNS[name]
    names: list[str] = []
    for file in locate(data):
        names = _names(file, data)
        _require(data, names, file.name)
    return names


def roles(data: DataConfig) -> DataConfig:
    """The config with the roles filled in that the source itself tells: those of a wide table and of *.ts files."""
    if not (data.is_ts or data.layout == "wide"):
        return data
    names = _names(locate(data)[0], data)
    filled: dict[str, Any] = {"series_id": data.series_id or names[:1], "time": data.time or OWN_TIME}
    if data.is_ts:
        filled["past"] = data.past or [name for name in names if name.startswith(ts.DIMENSION)]
        filled["label"] = data.label or (ts.LABEL if ts.LABEL in names else None)
    else:
        filled["target"] = names[2:]
    return data.model_copy(update=filled)


def resolved(config: Config) -> Config:
    """The config with ``roles`` and, for labels of steps, their kind, validated anew.

    Raises InputError where they contradict the rest.
    """
    data = roles(config.data)
    if config.task == "label" and data.label_kind == "auto":
        data = data.model_copy(update={"label_kind": label_kind(data)})
    return config if data == config.data else parse({**config.model_dump(), "data": data.model_dump()})


def label_kind(data: DataConfig) -> Literal["class", "value"]:
    """What the labels of steps are, by the type of their column: text, true and false, and whole numbers of at most
    MAX_CLASSES different values are classes, other numbers are values.

    Raises InputError where the column holds no label at all.
    """
    assert data.label is not None, "the config refuses task 'label' without one"
    if _is_example(data):
        columns = [examples.table(str(data.source).removeprefix(EXAMPLE))[data.label]]
    else:
        header(data)
        columns = [_untyped(file, data.label) for file in locate(data)]
    columns = [column for column in columns if column.null_count < len(column)]
    if not columns:
        raise InputError(f"label '{data.label}' has no values at all; name another column in data.label")
    if not all(_is_number(column.type) for column in columns):
        return "class"
    if not all(pa.types.is_integer(column.type) for column in columns):
        return "value"
    values = {value for column in columns for value in column.unique().to_pylist()} - {None}
    return "class" if len(values) <= MAX_CLASSES else "value"


def _untyped(file: File, column: str) -> pa.ChunkedArray:
    """One column with the type that its file gives it, or in a text file its values do."""
    try:
        if _format(file) == "csv":
            convert = pa_csv.ConvertOptions(
                include_columns=[column], null_values=examples.NULLS, strings_can_be_null=True
            )
            with file.filesystem.open_input_stream(file.path) as stream:
                return pa_csv.read_csv(stream, convert_options=convert)[column]
        dataset = pa_dataset.dataset(file.path, filesystem=file.filesystem, format=_format(file))
        return dataset.to_table(columns=[column])[column]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise InputError(_explain(file.name, error)) from None


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def read(data: DataConfig) -> pa.Table:
    """The columns that roles name, typed by role: series_id, time, categorical and label as strings (time as whole
    numbers where ``roles`` filled it in), the others as float64.

    Raises InputError where a file is empty, unreadable, or a value has the wrong type.
    """
    if _is_example(data):
        whole = examples.table(str(data.source).removeprefix(EXAMPLE))
        _require(data, whole.column_names, str(data.source))
        return whole.select(data.columns).cast(_schema(data))
    header(data)
    files = locate(data)
    if data.is_ts:
        return ts.to_long([(file.name, _text(file)) for file in files]).select(data.columns)
    if data.layout == "wide":
        tables = [(file.name, _read_wide(file)) for file in files]
        return wide.to_long(tables, *data.series_id, *data.target).select(data.columns)
    whole = pa.concat_tables([_read_one(data, file) for file in files])
    if whole.num_rows == 0:
        raise InputError(f"data.source {data.source!r} has a header but no rows; name files that hold data")
    return whole


def _read_one(data: DataConfig, file: File) -> pa.Table:
    schema = _schema(data)
    try:
        if _format(file) == "csv":
            convert = pa_csv.ConvertOptions(
                column_types=schema, include_columns=schema.names, null_values=examples.NULLS, strings_can_be_null=True
            )
            with file.filesystem.open_input_stream(file.path) as stream:
                return pa_csv.read_csv(stream, convert_options=convert)
        dataset = pa_dataset.dataset(file.path, filesystem=file.filesystem, format=_format(file))
        table = dataset.to_table(columns=schema.names)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise InputError(_explain(file.name, error, _names(file, data))) from None
    columns = []
    for field, column in zip(schema, table.columns, strict=True):
        try:
            columns.append(column.cast(field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            reason = _one_line(error)
            raise InputError(
                f"column '{field.name}' of '{file.name}' is not numeric as its role needs: {reason}"
            ) from None
    return pa.table(columns, schema=schema)


def _read_wide(file: File) -> pl.DataFrame:
    """All columns of a wide table; those of a text file as text."""
    try:
        if _format(file) == "csv":
            with file.filesystem.open_input_stream(file.path) as stream:
                return pl.read_csv(stream.read(), infer_schema=False, null_values=examples.NULLS)
        dataset = pa_dataset.dataset(file.path, filesystem=file.filesystem, format=_format(file))
        table = pl.from_arrow(dataset.to_table())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pl.exceptions.PolarsError, OSError) as error:
        raise InputError(_explain(file.name, error)) from None
    assert isinstance(table, pl.DataFrame)
    return table


def _text(file: File) -> str:
    try:
        with file.filesystem.open_input_stream(file.path) as stream:
            return str(stream.read(), "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"'{file.name}' cannot be read as text: {_one_line(error)}") from None


def _schema(data: DataConfig) -> pa.Schema:
    text = {*data.series_id, data.time, *data.categorical}
    if data.label_kind != "value":
        text.add(data.label)
    return pa.schema([(name, pa.string() if name in text else pa.float64()) for name in data.columns])


def _sources(data: DataConfig) -> list[str]:
    return [data.source] if isinstance(data.source, str) else data.source


def _is_example(data: DataConfig) -> bool:
    return isinstance(data.source, str) and data.source.startswith(EXAMPLE)


def _file(filesystem: fs.FileSystem, info: fs.FileInfo, name: str | None = None) -> File:
    return File(filesystem, info.path, name or info.path, info.size or 0, info.mtime_ns or 0)


def _expand(source: str) -> list[File]:
    if download.is_address(source):
        local = fs.LocalFileSystem()
        return [_file(local, local.get_file_info(str(download.fetch(source))), source)]
    text = source if "://" in source else str(Path(source).expanduser().absolute())
    wild = any(sign in text for sign in "*?[")
    base = text[: min(text.index(sign) for sign in "*?[" if sign in text)].rpartition("/")[0] if wild else text
    try:
        filesystem, path = fs.FileSystem.from_uri(base)
        info = filesystem.get_file_info(path)
    except (OSError, ValueError) as error:
        raise InputError(f"data.source '{source}' cannot be opened: {_one_line(error)}") from None
    if info.type == fs.FileType.File:
        return [_file(filesystem, info)]
    if info.type == fs.FileType.NotFound:
        return []
    inside = filesystem.get_file_info(fs.FileSelector(path, recursive=True))
    pattern = path.rstrip("/") + text[len(base) :] if wild else None
    files = [i for i in inside if i.type == fs.FileType.File and (not pattern or Path(i.path).match(pattern))]
    known = [i for i in files if pattern or Path(i.path).suffix in FORMATS]
    return [_file(filesystem, i) for i in sorted(known, key=lambda i: i.path)]


def _format(file: File) -> str:
    suffix = Path(file.path).suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"'{file.name}' ends in '{suffix}', which is no known format; use one of {', '.join(FORMATS)}")
    return FORMATS[suffix]


def _require(data: DataConfig, names: list[str], where: str) -> None:
    for column in data.columns:
        if column not in names:
            raise InputError(f"column '{column}' is not in '{where}'{nearest(column, names)}")


def _names(file: File, data: DataConfig) -> list[str]:
    """The columns of one file as it is read, in its order."""
    if data.is_ts:
        return ts.header(file.name, _text(file).splitlines()).columns
    try:
        if data.layout == "wide" and _format(file) == "csv":
            with file.filesystem.open_input_stream(file.path) as stream:
                first = pl.read_csv(stream.read(), has_header=False, n_rows=1, infer_schema=False).row(0)[0]
            names = [first or ""]
        else:
            dataset = pa_dataset.dataset(file.path, filesystem=file.filesystem, format=_format(file))
            names = dataset.schema.names
    except (pa.ArrowInvalid, pl.exceptions.PolarsError, OSError) as error:
        raise InputError(_explain(file.name, error)) from None
    if data.layout == "wide":
        target = data.target or [WIDE_TARGET]
        unusable = names[0] in ("", OWN_TIME, *target)
        return [UNNAMED if unusable else names[0], OWN_TIME, *target]
    return names


def _explain(path: str, error: Exception, names: Sequence[str] = ()) -> str:
    """Arrow names a CSV column by its position in the file; people know it by name."""
    text = _one_line(error)
    if text.startswith("In CSV column #"):
        position, _, reason = text.removeprefix("In CSV column #").partition(":")
        column = names[int(position)] if position.isdigit() and int(position) < len(names) else f"#{position}"
        return f"column '{column}' of '{path}' is not numeric as its role needs:{reason}"
    if "Empty CSV" in text or "empty CSV" in text:
        return f"'{path}' is empty; name files that hold data"
    return f"'{path}' cannot be read: {text}"


def _one_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
