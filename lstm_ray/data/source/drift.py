"""Whether the files of a source agree in their columns, before any value is read. Knows nothing of layouts or joins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from lstm_ray.data.source import casting, formats
from lstm_ray.data.source.casting import Kind
from lstm_ray.data.source.formats import Look
from lstm_ray.data.source.places import File
from lstm_ray.errors import InputError, nearest
from lstm_ray.run_dir import Finding

MOST_NAMED = 3
"""Files that a message names."""
AT_ONCE = 8
"""Files that are opened at a time: remote ones answer slowly."""


@dataclass(frozen=True)
class Seen:
    """A file and what it tells without its values."""

    file: File
    look: Look

    @property
    def schema(self) -> dict[str, pa.DataType]:
        """The type of every column, its own and its folders'."""
        own = dict(zip(self.look.schema.names, self.look.schema.types, strict=True))
        told = {name: pa.null() if value is None else pa.string() for name, value in self.file.partition}
        return own | told


def scan(files: Sequence[File]) -> list[Seen]:
    """Open the files. Raises InputError where one cannot be read."""
    with ThreadPoolExecutor(min(AT_ONCE, len(files))) as pool:
        return [_without_doubles(file, look) for file, look in zip(files, pool.map(formats.look, files), strict=True)]


def _without_doubles(file: File, look: Look) -> Seen:
    """A column that a file and its folder both tell is the file's; one that only its table knows is empty."""
    own = {*look.schema.names}
    told = [(name, value) for name, value in file.partition if name not in own]
    known = own | {name for name, _ in told}
    absent = [(name, None) for name in file.declared if name not in known]
    return Seen(replace(file, partition=(*told, *absent)), look)


def check(seen: Sequence[Seen], kinds: Mapping[str, Kind]) -> pa.DataType:
    """That every file holds the columns, as what their roles need; returns the type of the time column.

    Raises InputError that names column and file: a column that is missing, twice there, of a type that cannot be read, or
    in a text file with a first value that cannot be.
    """
    require([(one.file.name, list(one.schema)) for one in seen], kinds)
    for one in seen:
        for name in kinds:
            if one.look.schema.names.count(name) > 1:
                raise InputError(f"'{one.file.name}' has multiple columns named {name}; rename or drop all but one")
    for name, kind in kinds.items():
        for one in seen:
            _readable(one, name, kind)
    time = next((name for name, kind in kinds.items() if kind == "time"), None)
    if time is None:
        return pa.string()
    return casting.common_time([(one.file.name, _written(one, time)) for one in seen], time)


def require(named: Sequence[tuple[str, Sequence[str]]], columns: Iterable[str]) -> None:
    """Raises InputError that names every column that is missing somewhere, and the files that lack it.

    Args:
        named: each file's name and its columns.
    """
    faults = []
    for column in columns:
        lacking = [(where, names) for where, names in named if column not in names]
        if lacking:
            some = ", ".join(f"'{where}'" for where, _ in lacking[:MOST_NAMED])
            more = f" and {len(lacking) - MOST_NAMED} more" if len(lacking) > MOST_NAMED else ""
            of = f"{len(lacking)} of {len(named)} files: " if len(lacking) > 1 else ""
            text = f"column '{column}' is not in {of}{some}{more}{nearest(column, lacking[0][1])}"
            fix = "; add it there, empty where nothing was measured, or give it no role"
            misspelt = "did you mean" in text
            faults.append(text + (fix if len(lacking) < len(named) and not misspelt else ""))
    if faults:
        raise InputError("\n".join(faults))


def _readable(one: Seen, name: str, kind: Kind) -> None:
    found = one.schema[name]
    own = name in one.look.schema.names
    if one.look.head is not None and own:
        # What a text file's first rows look like says what is in it only where all of them are numbers.
        if kind == "numbers" and not casting.is_number(found) and not pa.types.is_null(found):
            refuse_first_wrong(one.file, name, pa.float64())
        return
    if not own and kind == "numbers":
        value = dict(one.file.partition)[name]
        if casting.first_wrong(pa.chunked_array([pa.array([value], pa.string())]), pa.float64()) is not None:
            raise InputError(
                f"column '{name}' of '{one.file.name}' is '{value}' by its folder, but its role needs numbers"
            )
    if not casting.can_be(found, kind):
        needs = "numbers" if kind == "numbers" else "time stamps, dates or whole numbers" if kind == "time" else "words"
        raise InputError(
            f"column '{name}' of '{one.file.name}' holds {casting.holds(found)}, but its role needs {needs}; convert it, or "
            "give it another role"
        )


def refuse_first_wrong(file: File, name: str, kind: pa.DataType) -> None:
    """Raises InputError with the first value of a column that cannot be read as a type, and its row; none: nothing."""
    row = 0
    head = formats.look(file).head
    comma = head is not None and head.decimal == "," and pa.types.is_floating(kind)
    for part in formats.batches(file, name):
        at = casting.first_wrong(_with_points(part) if comma else part, kind)
        if at is not None:
            value = part[at].as_py()
            if pa.types.is_floating(kind):
                raise InputError(
                    f"column '{name}' of '{file.name}' is not numeric as its role needs: {value!r} in row {row + at}; mend the "
                    "value, leave the field empty where nothing was measured, or give the column another role"
                )
            raise InputError(
                f"column '{name}' of '{file.name}' holds {value!r} in row {row + at}, and elsewhere {casting.holds(kind)}; "
                "write the time the same way everywhere, such as 2013-01-31T05:00:00Z"
            )
        row += len(part)


def _with_points(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text as it would be with decimal points, for a reader that knows no others; a point that is there is no number's."""
    return pc.replace_substring(pc.replace_substring(text, ".", "?"), ",", ".")


def findings(
    seen: Sequence[Seen], kinds: Mapping[str, Kind], unread: str = "without a role it is not read"
) -> list[Finding]:
    """What differs between files that can be read together all the same.

    Args:
        unread: what becomes of a column that only some files hold.
    """
    found = []
    for name, kind in kinds.items():
        files_by_word: dict[str, list[str]] = {}
        for one in seen:
            word = casting.holds(_written(one, name) if kind != "numbers" else one.schema[name])
            if word != "nothing":
                files_by_word.setdefault(word, []).append(one.file.name)
        if len(files_by_word) > 1:
            text = " and ".join(f"{w} in {_named(names, len(seen))}" for w, names in sorted(files_by_word.items()))
            how = {"numbers": "numbers are read where they can be", "time": "text is read as time stamps are written"}
            found.append(
                Finding(
                    severity="warning",
                    text=f"Column '{name}' holds {text}; {how.get(kind, 'numbers are read as words')}.",
                    advice="write the column the same way in all files",
                )
            )
    if commas := [one.file.name for one in seen if one.look.head is not None and one.look.head.decimal == ","]:
        words = f"Numbers are read with a comma before their decimals, as in 3,14, in {_named(commas, len(seen))}."
        found.append(Finding(severity="info", text=words))
    everywhere = set.intersection(*({*one.schema} for one in seen))
    extra: dict[str, list[str]] = {}
    for one in seen:
        for name in one.schema:
            if name not in everywhere:
                extra.setdefault(name, []).append(one.file.name)
    shown = [f"'{name}' in {_named(names, len(seen))}" for name, names in list(extra.items())[:MOST_NAMED]]
    if shown:
        more = f", and {len(extra) - MOST_NAMED} more" if len(extra) > MOST_NAMED else ""
        words = f"Columns that only some files hold ({unread}): {'; '.join(shown)}{more}."
        found.append(Finding(severity="info", text=words))
    return found


def _written(one: Seen, name: str) -> pa.DataType:
    """A column's type, that of a text file's being text."""
    in_text = one.look.head is not None and name in one.look.schema.names
    return pa.string() if in_text else one.schema[name]


def _named(names: Sequence[str], num: int) -> str:
    return f"{len(names)} of {num} files, such as '{names[0]}'"
