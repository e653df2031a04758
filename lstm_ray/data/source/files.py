"""A source as one typed table, whole or in pieces. Knows layouts and column roles; knows nothing of grids or windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import pyarrow as pa

from lstm_ray.config import Config, parse
from lstm_ray.data.source import casting, delimited, drift, examples, formats, places, static, ts, wide
from lstm_ray.data.source.casting import Kind
from lstm_ray.data.source.places import File, refused_by_name
from lstm_ray.data.source.sources import (
    EXAMPLE,
    UNNAMED,
    WIDE_TARGET,
    is_example,
    is_whole,
    named_columns,
    names_in,
    scan,
    whole,
)
from lstm_ray.data.source.sources import locate as locate
from lstm_ray.data.source.sources import stamp as stamp
from lstm_ray.errors import InputError, nearest
from lstm_ray.run_dir import Finding
from lstm_ray.sections.data import OWN_TIME, TIME_DELTA, DataConfig

Version = tuple[tuple[str | int, ...], ...]
PIECE_BYTES = 64_000_000
MELTED = 5
"""A number in a column for each series takes so many times its bytes as a row, with the name of its series and its time."""
MAX_CLASSES = 20
"""Different whole numbers that labels may take and still be classes (data.label_kind: auto)."""


@dataclass(frozen=True)
class Piece:
    """A run of a source's rows that is read at once."""

    file: File
    first: int | None
    """Row group or record batch (Parquet, Arrow), byte (text); none: the file, or a source that is whole, from its start."""
    end: int | None
    """The one after the last."""
    num_rows: int | None
    """None: not known before it is read."""
    num_bytes: int
    """Of the columns that are wanted, about."""
    head: delimited.Head | None = None
    """Of a text file."""
    time: pa.DataType | None = None
    """The time column's type in the whole source; none: as the file has it."""


def header(data: DataConfig, also: Sequence[str] = ()) -> list[str]:
    """The columns of the source: those of its first file, what others have besides, and data.static_source's own.

    Args:
        also: columns without a role that must be there too, such as split.group.

    Raises InputError where a role's column is missing, naming the files, or cannot be what its role needs.
    """
    kinds = _of_files(data, also)
    if is_whole(data):
        named = named_columns(data)
        _require_in_one(data, named[-1][1], also)
        drift.require(named, kinds)
        names = named[-1][1]
    else:
        seen = scan(data)
        names = list(dict.fromkeys(name for one in seen for name in one.schema))
        _require_in_one(data, names, also)
        drift.check(seen, kinds)
        if data.layout == "columns":
            names = [*data.series_id, *data.target, *kinds]
    return [*names, *(name for name in _names_of_second(data) if name not in names)]


def findings(data: DataConfig, also: Sequence[str] = ()) -> list[Finding]:
    """What differs between the files of a source that can be read all the same: types, and columns that some lack."""
    if is_whole(data):
        return []
    unread = "it is a series of those alone" if data.layout == "columns" else "without a role it is not read"
    return drift.findings(scan(data), _of_files(data, also), unread)


def roles(data: DataConfig) -> DataConfig:
    """The config with the roles filled in that the source itself tells: those of wide tables and of *.ts files, and the
    past input that irregular: time_delta makes up."""
    filled: dict[str, Any] = {}
    if data.is_ts or data.layout == "wide":
        names = names_in(locate(data)[0], data)
        filled = {"series_id": data.series_id or names[:1], "time": data.time or OWN_TIME}
        if data.is_ts:
            filled["past"] = data.past or [name for name in names if name.startswith(ts.DIMENSION)]
            filled["label"] = data.label or (ts.LABEL if ts.LABEL in names else None)
        else:
            filled["target"] = names[2:]
    elif data.layout == "columns":
        filled = {"series_id": data.series_id or [UNNAMED], "target": data.target or [WIDE_TARGET]}
    if data.irregular == "time_delta" and TIME_DELTA not in data.past:
        filled["past"] = [*data.past, TIME_DELTA]
    return data.model_copy(update=filled)


def resolved(config: Config) -> Config:
    """The config with ``roles`` and, for labels of steps, their kind, validated anew.

    Raises InputError where they contradict the rest.
    """
    data = roles(config.data)
    if config.task == "label" and data.label_kind == "auto":
        data = data.model_copy(update={"label_kind": label_kind(data)})
    return config if data == config.data else parse({**config.model_dump(), "data": data.model_dump()})


def also_read(config: Config) -> list[str]:
    """Columns that are read though they have no role: split.group, which says which series lie in one part."""
    group = config.split.group
    return [group] if group and group not in config.data.columns else []


def label_kind(data: DataConfig) -> Literal["class", "value"]:
    """What the labels of steps are, by the type of their column: text, true and false, and whole numbers of at most
    MAX_CLASSES different values are classes, other numbers are values.

    Raises InputError where the column holds no label at all.
    """
    assert data.label is not None, "the config refuses task 'label' without one"
    if is_example(data):
        columns = [examples.table(str(data.source).removeprefix(EXAMPLE))[data.label]]
    else:
        header(data)
        columns = [_untyped(one, data.label) for one in scan(data)]
    columns = [column for column in columns if column.null_count < len(column)]
    if not columns:
        raise InputError(f"label '{data.label}' has no values at all; name another column in data.label")
    if not all(casting.is_number(column.type) for column in columns):
        return "class"
    if not all(pa.types.is_integer(column.type) for column in columns):
        return "value"
    values = {value for column in columns for value in column.unique().to_pylist()} - {None}
    return "class" if len(values) <= MAX_CLASSES else "value"


def _untyped(one: drift.Seen, column: str) -> pa.ChunkedArray:
    """One column with the type that its file gives it, or in a text file its values do."""
    if column not in one.look.schema.names:
        return pa.chunked_array([pa.array([dict(one.file.partition)[column]], pa.string())])
    with refused_by_name(one.file):
        return formats.read(one.file, one.look.head, {column: None}, None, None)[column]


def read(data: DataConfig, also: Sequence[str] = ()) -> pa.Table:
    """The columns that roles name, typed by role: series_id, categorical and label as strings, the time as the source has
    it (of text files: text), the others as float64; and ``also`` as strings. The pieces, one after the other.

    Raises InputError where a file is empty, unreadable, or a value has the wrong type.
    """
    table = pa.concat_tables([read_piece(data, piece, also=also) for piece in pieces(data, also=also)])
    if table.num_rows == 0:
        what = "a header but no rows" if data.layout == "long" else "no values at all"
        raise InputError(f"data.source {data.source!r} has {what}; name files that hold data")
    return table


def pieces(data: DataConfig, target_bytes: int = PIECE_BYTES, *, also: Sequence[str] = ()) -> list[Piece]:
    """The source in runs of rows of about so many bytes, in the order of its rows, checked as by ``header``.

    Raises InputError as that does, and where there is no row.
    """
    kinds = _of_files(data, also)
    if is_whole(data):
        header(data, also)
        files = locate(data)
        return [Piece(files[0], None, None, None, sum(file.size for file in files))]
    seen = scan(data)
    _require_in_one(data, [name for one in seen for name in one.schema], also)
    time = drift.check(seen, kinds)
    found = []
    for one in seen:
        types = casting.types(kinds, time)
        if data.layout == "columns":
            types |= dict.fromkeys(_series_of(one.file, one.look, kinds), pa.float64())
            spans = formats.spans(one.file, one.look, types, max(1, target_bytes // MELTED))
            spans = [replace(span, num_rows=None, num_bytes=MELTED * span.num_bytes) for span in spans]
        else:
            spans = formats.spans(one.file, one.look, types, target_bytes)
        found += [Piece(one.file, s.first, s.end, s.num_rows, s.num_bytes, one.look.head, time) for s in spans]
    if not found:
        raise InputError(f"data.source {data.source!r} has a header but no rows; name files that hold data")
    return found


def read_piece(
    data: DataConfig, piece: Piece, columns: Sequence[str] | None = None, *, also: Sequence[str] = ()
) -> pa.Table:
    """A piece's rows, typed as by ``read``.

    Args:
        columns: those of the roles (and of ``also``) that are wanted; none: all of them.
        also: columns without a role that are read too, as strings.

    Raises InputError as ``read`` does, and where a series has no row in data.static_source.
    """
    kinds = casting.kinds(data, also)
    wanted = [name for name in kinds if columns is None or name in columns]
    elsewhere = _of_second(data, also)
    second = [name for name in wanted if name in elsewhere]
    own = [name for name in wanted if name not in second]
    if second:
        own = list(dict.fromkeys([*data.series_id, *own]))
    if data.layout == "columns":
        table = _from_columns(data, piece, _of_files(data, also))
    else:
        table = _rows(data, piece, {name: kinds[name] for name in own})
    table = table.select(own)
    if second:
        table = static.joined(table, _second(data, second), data.series_id, str(data.static_source))
    return table.select(wanted)


def _rows(data: DataConfig, piece: Piece, kinds: dict[str, Kind]) -> pa.Table:
    if not is_whole(data):
        return _typed(piece, casting.types(kinds, piece.time))
    table = whole(data)
    types = casting.types(kinds, None)
    return pa.table({name: casting.cast(table[name], kind or table[name].type) for name, kind in types.items()})


def _typed(piece: Piece, types: dict[str, pa.DataType | None]) -> pa.Table:
    """Columns of a piece's rows. Raises InputError that names the first value that is not of its type."""
    file, told = piece.file, dict(piece.file.partition)
    inside = {name: kind for name, kind in types.items() if name not in told}
    # Where folders tell every column that is wanted, another says how many rows there are.
    chosen = inside or {formats.look(file).schema.names[0]: None}
    try:
        table = formats.read(file, piece.head, chosen, piece.first, piece.end)
        columns = {}
        for name, kind in types.items():
            column = table[name] if name in inside else _repeated(told[name], table.num_rows)
            columns[name] = casting.cast(column, kind or casting.plain(column.type))
    except (delimited.WrongValueError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        for name, kind in inside.items():
            if kind is not None:
                drift.refuse_first_wrong(file, name, kind)
        raise InputError(f"'{file.name}' cannot be read: {places.one_line(error)}") from None
    return pa.table(columns)


def _repeated(value: str | None, num: int) -> pa.ChunkedArray:
    return pa.chunked_array([pa.repeat(pa.scalar(value, pa.string()), num)])


def _from_columns(data: DataConfig, piece: Piece, shared: dict[str, Kind]) -> pa.Table:
    """A piece of a table with a column for each series, a row for each series and time."""
    series = _series_of(piece.file, formats.look(piece.file), shared)
    table = _typed(piece, casting.types(shared, piece.time) | dict.fromkeys(series, pa.float64()))
    return wide.from_columns(table, series, *data.series_id, *data.target)


def _series_of(file: File, look: formats.Look, shared: dict[str, Kind]) -> list[str]:
    series = [name for name in look.schema.names if name not in shared]
    if not series or "" in series or len({*series}) < len(series):
        found = "no column beside those with a role" if not series else "columns without a name, or with the same"
        raise InputError(f"'{file.name}' has {found}; layout 'columns' needs a column for each series, named after it")
    return series


def _of_files(data: DataConfig, also: Sequence[str] = ()) -> dict[str, Kind]:
    """The columns that the source's files hold, and what each is read as."""
    elsewhere = {*_of_second(data, also)}
    if data.layout == "columns":
        elsewhere |= {*data.series_id, *data.target}
    return {name: kind for name, kind in casting.kinds(data, also).items() if name not in elsewhere}


def _of_second(data: DataConfig, also: Sequence[str] = ()) -> list[str]:
    """The columns that data.static_source holds."""
    names = _names_of_second(data)
    return [name for name in (*data.static, *data.categorical, *also) if name in names and name not in data.series_id]


def _names_of_second(data: DataConfig) -> list[str]:
    return _header_of(data.static_source, _version(data.static_source)) if data.static_source else []


def _version(source: str) -> Version:
    return tuple(tuple(item) for item in stamp(DataConfig(source=source)))


@lru_cache(maxsize=8)
def _header_of(source: str, version: Version) -> list[str]:
    """Of a second table, read once in a process: another ``version`` is another table."""
    return header(DataConfig(source=source))


def _second(data: DataConfig, columns: Sequence[str]) -> pa.Table:
    """data.static_source's rows, with the columns that are wanted, read once in a process."""
    assert data.static_source is not None
    version = _version(data.static_source)
    static_columns = tuple(name for name in columns if name in data.static)
    others = tuple(name for name in columns if name not in data.static)
    return _read_second(data.static_source, tuple(data.series_id), data.layout, static_columns, others, version)


@lru_cache(maxsize=8)
def _read_second(
    source: str,
    keys: tuple[str, ...],
    layout: str,
    numbers: tuple[str, ...],
    words: tuple[str, ...],
    version: Version,
) -> pa.Table:
    """As ``_header_of``."""
    data = DataConfig(source=source, static=list(numbers))
    names = header(data)
    # Where the first table's names of series are made up, the second's first column holds them.
    own = names[:1] if layout != "long" and keys[0] not in names else list(keys)
    table = read(data, also=[*own, *words]).select([*own, *numbers, *words]).rename_columns([*keys, *numbers, *words])
    static.refuse_repeated(table, keys, source)
    return table


def _require_in_one(data: DataConfig, names: Sequence[str], also: Sequence[str]) -> None:
    """Raises InputError where a column is in both tables, or in neither."""
    if not data.static_source:
        return
    second = _names_of_second(data)
    for column in data.series_id if data.layout == "long" else []:
        if column not in second:
            hint = nearest(column, second)
            raise InputError(
                f"column '{column}' is not in data.static_source '{data.static_source}', to join it by{hint}"
            )
    for column in (*data.static, *data.categorical, *also):
        if column in data.series_id or (column in names) != (column in second):
            continue
        if column in second:
            raise InputError(
                f"column '{column}' is in data.source and in data.static_source '{data.static_source}'; drop it from one"
            )
        hint = nearest(column, [*second, *names])
        raise InputError(
            f"column '{column}' is neither in data.source nor in data.static_source '{data.static_source}'{hint}"
        )
