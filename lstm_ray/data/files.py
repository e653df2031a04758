"""Raw files as one typed table. Knows formats, filesystems and column roles; knows nothing of grids or windows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.dataset as pa_dataset
from pyarrow import fs

from lstm_ray.data import examples
from lstm_ray.errors import InputError, nearest
from lstm_ray.sections import DataConfig

FORMATS = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet", ".arrow": "ipc", ".feather": "ipc"}
EXAMPLE = "example:"


def locate(data: DataConfig) -> list[tuple[fs.FileSystem, fs.FileInfo]]:
    """Every file of the source, globs expanded, sorted by path. Raises InputError where nothing is found."""
    if isinstance(data.source, str) and data.source.startswith(EXAMPLE):
        paths = examples.files(data.source.removeprefix(EXAMPLE))
        local = fs.LocalFileSystem()
        return [(local, info) for info in local.get_file_info([str(path) for path in paths])]
    found: list[tuple[fs.FileSystem, fs.FileInfo]] = []
    for source in [data.source] if isinstance(data.source, str) else data.source:
        matches = _expand(source)
        if not matches:
            raise InputError(f"data.source '{source}' names no file; check the path (relative to {Path.cwd()})")
        found += matches
    return found


def stamp(data: DataConfig) -> list[list[str | int]]:
    """What tells one version of the files from another: path, size and time of change of each."""
    return [[info.path, info.size or 0, info.mtime_ns or 0] for _, info in locate(data)]


def header(data: DataConfig) -> list[str]:
    """The columns that every file has. Raises InputError where a role's column is missing, naming the file."""
    if isinstance(data.source, str) and data.source.startswith(EXAMPLE):
        name = data.source.removeprefix(EXAMPLE)
        examples.files(name)
        _require(data, examples.COLUMNS[name], data.source)
        return examples.COLUMNS[name]
    names: list[str] = []
    for filesystem, info in locate(data):
        names = _names(filesystem, info.path)
        _require(data, names, info.path)
    return names


def read(data: DataConfig) -> pa.Table:
    """The columns that roles name, typed by role: series_id, time and label as strings, the others as float64.

    Raises InputError where a file is empty, unreadable, or a value has the wrong type.
    """
    if isinstance(data.source, str) and data.source.startswith(EXAMPLE):
        whole = examples.table(data.source.removeprefix(EXAMPLE))
        _require(data, whole.column_names, data.source)
        return whole.select(data.columns).cast(_schema(data))
    header(data)
    tables = [_read_one(data, filesystem, info.path) for filesystem, info in locate(data)]
    whole = pa.concat_tables(tables)
    if whole.num_rows == 0:
        raise InputError(f"data.source {data.source!r} has a header but no rows; name files that hold data")
    return whole


def _read_one(data: DataConfig, filesystem: fs.FileSystem, path: str) -> pa.Table:
    schema = _schema(data)
    try:
        if _format(path) == "csv":
            convert = pa_csv.ConvertOptions(
                column_types=schema, include_columns=schema.names, null_values=examples.NULLS, strings_can_be_null=True
            )
            with filesystem.open_input_stream(path) as stream:
                return pa_csv.read_csv(stream, convert_options=convert)
        table = pa_dataset.dataset(path, filesystem=filesystem, format=_format(path)).to_table(columns=schema.names)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise InputError(_explain(path, error, _names(filesystem, path))) from None
    columns = []
    for field, column in zip(schema, table.columns, strict=True):
        try:
            columns.append(column.cast(field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            reason = _one_line(error)
            raise InputError(f"column '{field.name}' of '{path}' is not numeric as its role needs: {reason}") from None
    return pa.table(columns, schema=schema)


def _schema(data: DataConfig) -> pa.Schema:
    text = {*data.series_id, data.time, data.label}
    return pa.schema([(name, pa.string() if name in text else pa.float64()) for name in data.columns])


def _expand(source: str) -> list[tuple[fs.FileSystem, fs.FileInfo]]:
    text = source if "://" in source else str(Path(source).expanduser().absolute())
    wild = any(sign in text for sign in "*?[")
    base = text[: min(text.index(sign) for sign in "*?[" if sign in text)].rpartition("/")[0] if wild else text
    try:
        filesystem, path = fs.FileSystem.from_uri(base)
        info = filesystem.get_file_info(path)
    except (OSError, ValueError) as error:
        raise InputError(f"data.source '{source}' cannot be opened: {_one_line(error)}") from None
    if info.type == fs.FileType.File:
        return [(filesystem, info)]
    if info.type == fs.FileType.NotFound:
        return []
    inside = filesystem.get_file_info(fs.FileSelector(path, recursive=True))
    pattern = path.rstrip("/") + text[len(base) :] if wild else None
    files = [i for i in inside if i.type == fs.FileType.File and (not pattern or Path(i.path).match(pattern))]
    known = [i for i in files if pattern or Path(i.path).suffix in FORMATS]
    return [(filesystem, i) for i in sorted(known, key=lambda i: i.path)]


def _format(path: str) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"'{path}' ends in '{suffix}', which is no known format; use one of {', '.join(FORMATS)}")
    return FORMATS[suffix]


def _require(data: DataConfig, names: list[str], where: str) -> None:
    for column in data.columns:
        if column not in names:
            raise InputError(f"column '{column}' is not in '{where}'{nearest(column, names)}")


def _names(filesystem: fs.FileSystem, path: str) -> list[str]:
    """The columns of one file, in its order."""
    try:
        schema = pa_dataset.dataset(path, filesystem=filesystem, format=_format(path)).schema
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(_explain(path, error)) from None
    names: list[str] = schema.names
    return names


def _explain(path: str, error: Exception, names: Sequence[str] = ()) -> str:
    """Arrow names a CSV column by its position in the file; people know it by name."""
    text = _one_line(error)
    if text.startswith("In CSV column #"):
        position, _, reason = text.removeprefix("In CSV column #").partition(":")
        column = names[int(position)] if position.isdigit() and int(position) < len(names) else f"#{position}"
        return f"column '{column}' of '{path}' is not numeric as its role needs:{reason}"
    if "Empty CSV" in text:
        return f"'{path}' is empty; name files that hold data"
    return f"'{path}' cannot be read: {text}"


def _one_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
