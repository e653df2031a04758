"""Columns as their roles need them: words, numbers, or time stamps as they are. Knows nothing of files.

Time stamps are never turned into words on the way: of a hundred million that takes minutes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from lstm_ray.data.source.examples import NULLS
from lstm_ray.errors import InputError
from lstm_ray.sections.data import TIME_DELTA, DataConfig

Kind = Literal["words", "numbers", "time"]


def kinds(data: DataConfig, also: Iterable[str] = ()) -> dict[str, Kind]:
    """What every column that the source must hold is read as, in the order of roles and then of ``also``."""
    made_up = {TIME_DELTA} if data.irregular == "time_delta" else set()
    found: dict[str, Kind] = {name: "words" for name in data.columns if name not in made_up}
    numeric = [*data.numeric, *([data.label] if data.label and data.label_kind == "value" else [])]
    found |= {name: "numbers" for name in numeric if name in found}
    if data.time:
        found[data.time] = "time"
    return found | {name: "words" for name in also if name not in found}


def types(kinds: Mapping[str, Kind], time: pa.DataType | None) -> dict[str, pa.DataType | None]:
    """The type that each column arrives with; None: its own."""
    of: dict[Kind, pa.DataType | None] = {"words": pa.string(), "numbers": pa.float64(), "time": time}
    return {name: of[kind] for name, kind in kinds.items()}


def holds(kind: pa.DataType) -> str:
    """A type in words people use."""
    if pa.types.is_dictionary(kind):
        return holds(kind.value_type)
    if is_text(kind):
        return "text"
    if pa.types.is_null(kind):
        return "nothing"
    if pa.types.is_boolean(kind):
        return "true and false"
    if is_number(kind):
        return "numbers"
    if pa.types.is_timestamp(kind):
        return "time stamps with a zone" if kind.tz else "time stamps"
    return "dates" if pa.types.is_date(kind) else str(kind)


def plain(kind: pa.DataType) -> pa.DataType:
    """A type without the encodings of its text."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.string() if is_text(kind) else kind


def is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def can_be(kind: pa.DataType, role: Kind) -> bool:
    """Whether values of a type may be read for a role; of text, that shows when it is read."""
    word = holds(kind)
    if role == "numbers":
        return word in ("text", "nothing", "true and false", "numbers")
    stamps = ("time stamps", "time stamps with a zone", "dates")
    if role == "time":
        return word in ("text", "nothing", "numbers", *stamps)
    return word in ("text", "nothing", "true and false", "numbers", *stamps)


def common_time(found: Sequence[tuple[str, pa.DataType]], column: str) -> pa.DataType:
    """The type of a time column in all files: their own where they agree, text where all of them hold text.

    Args:
        found: each file's name and its type of the column.

    Raises InputError where they mean different things.
    """
    own = [(name, kind) for name, kind in found if holds(kind) not in ("text", "nothing")]
    first: dict[str, tuple[str, pa.DataType]] = {}
    for name, kind in own:
        first.setdefault(holds(kind), (name, kind))
    if len(first) > 1 and first.keys() != {"dates", "time stamps"}:
        (one, (file, _)), (two, (other, _)) = list(first.items())[:2]
        raise InputError(
            f"column '{column}' holds {one} in '{file}' and {two} in '{other}'; write the time the same way in all files"
        )
    if not own:
        return pa.string()
    if "numbers" in first:
        return pa.int64()
    all_types = {kind for _, kind in own}
    if len(all_types) == 1 and all(holds(kind) != "text" for _, kind in found):
        return all_types.pop()
    return pa.timestamp("us", "UTC" if "time stamps with a zone" in first else None)


def cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """A column as a type. Raises pa.ArrowInvalid where a value cannot be read so."""
    if column.type == kind:
        return column
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if is_text(column.type) and not is_text(kind):
        known = pc.is_in(column, value_set=pa.array(NULLS, column.type))
        column = pc.if_else(known, pa.scalar(None, column.type), column)
    if pa.types.is_integer(column.type) and kind == pa.string():
        return pa.chunked_array([_spelt(chunk) for chunk in column.chunks], kind)
    # Whole numbers past 2**53 lose their last digits as floats, as everywhere.
    lossy = pa.types.is_floating(kind) and is_number(column.type)
    return column.cast(kind, safe=not lossy)


def _spelt(numbers: pa.Array) -> pa.Array:
    """Whole numbers as words. Ids come in long runs or repeat often: each is written once, which takes a tenth of the time."""
    runs = pc.run_end_encode(numbers, run_end_type=pa.int64())
    if len(runs.values) * 4 <= len(numbers):
        return pc.run_end_decode(pa.RunEndEncodedArray.from_arrays(runs.run_ends, runs.values.cast(pa.string())))
    distinct = numbers.dictionary_encode()
    return distinct.dictionary.cast(pa.string()).take(distinct.indices)


def first_wrong(column: pa.ChunkedArray, kind: pa.DataType) -> int | None:
    """The first row of a column that ``cast`` cannot read."""
    if _reads(column, kind):
        return None
    low, high = 0, len(column)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _reads(column[low:middle], kind) else (low, middle)
    return low


def _reads(column: pa.ChunkedArray, kind: pa.DataType) -> bool:
    try:
        cast(column, kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True
