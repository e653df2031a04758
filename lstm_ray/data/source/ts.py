"""Files of the time series classification archive (*.ts): cases of one or more dimensions, each with a class.

Knows the text and the places of cases on the time axis; knows nothing of where files come from.
Format: Löning et al., https://www.aeon-toolkit.org. Header lines begin with @, then @data, then a case a line: its
dimensions divided by colons, each a list of numbers with ? where one is missing, and last the class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lstm_ray.data.parts import TEST_TIME
from lstm_ray.errors import InputError
from lstm_ray.sections.data import OWN_TIME

CASE, LABEL, DIMENSION = "case", "label", "dim_"
SEED = 0
NAMES = {1: ("case",), 2: ("train", "test")}
"""What the cases of a file are called, by the number of files."""


@dataclass(frozen=True)
class Header:
    """What stands above @data."""

    num_dimensions: int
    classes: list[str] | None
    """None: the cases have no class."""
    first_case: int
    """Number of the first line after @data."""

    @property
    def columns(self) -> list[str]:
        label = [] if self.classes is None else [LABEL]
        return [CASE, OWN_TIME, *(f"{DIMENSION}{d}" for d in range(self.num_dimensions)), *label]


@dataclass(frozen=True)
class Cases:
    """The cases of one file back to back."""

    values_RP: NDArray
    length_M: NDArray
    label_M: list[str] | None


def header(name: str, lines: Sequence[str]) -> Header:
    """Read a file's header. Raises InputError where the file is none of these or holds what is not read."""
    told: dict[str, list[str]] = {}
    for number, line in enumerate(lines):
        words = line.split()
        if not words or line.startswith(("#", "%")):
            continue
        if not line.startswith("@"):
            break
        key = words[0].lower()
        if key == "@data":
            first = next((n for n in range(number + 1, len(lines)) if lines[n].strip()), None)
            if first is None:
                raise InputError(f"'{name}' has no cases after @data; name files that hold data")
            return _understood(name, told, lines[first], first)
        told[key] = words[1:]
    raise InputError(f"'{name}' has no line @data before its first case; it is no .ts file")


def _understood(name: str, told: dict[str, list[str]], case: str, first_case: int) -> Header:
    if _is_true(told, "@timestamps"):
        raise InputError(f"'{name}' has time stamps in its values (@timeStamps true), which are not read; drop them")
    if _is_true(told, "@targetlabel"):
        raise InputError(f"'{name}' has numbers to regress on (@targetLabel true), not the classes that are read here")
    classes = told["@classlabel"][1:] if _is_true(told, "@classlabel") else None
    num = case.count(":") + (classes is None)
    declared = told.get("@dimensions", ["1" if _is_true(told, "@univariate") else str(num)])[0]
    if not declared.isdigit() or int(declared) != num or not num:
        raise InputError(f"'{name}' announces {declared} dimensions, and its first case has {num}; mend one of them")
    return Header(num, classes, first_case)


def read(name: str, text: str) -> Cases:
    """Every case of a file. Raises InputError that names the case where one cannot be read."""
    lines = text.splitlines()
    head = header(name, lines)
    numbers: list[str] = []
    lengths, labels = [], []
    for index, line in enumerate(filter(str.strip, lines[head.first_case :])):
        dimensions = line.strip().split(":")
        if head.classes is not None:
            labels.append(dimensions.pop().strip())
            if head.classes and labels[-1] not in head.classes:
                raise InputError(f"case {index} of '{name}' has class '{labels[-1]}', announced are {head.classes}")
        values = [dimension.split(",") for dimension in dimensions]
        counts = {len(v) for v in values}
        if len(values) != head.num_dimensions or len(counts) != 1:
            found = f"{len(values)} dimensions of {sorted(counts)} values"
            raise InputError(
                f"case {index} of '{name}' has {found}; every case needs {head.num_dimensions} of equal length"
            )
        lengths.append(len(values[0]))
        for dimension in values:
            numbers += dimension
    flat = _floats(name, numbers, np.asarray(lengths) * head.num_dimensions)
    # Dimension after dimension of each case -> a row for each step.
    ends = np.cumsum(lengths) * head.num_dimensions
    cases = [part.reshape(head.num_dimensions, -1).T for part in np.split(flat, ends[:-1])]
    return Cases(np.concatenate(cases), np.asarray(lengths), labels if head.classes is not None else None)


def to_long(files: Sequence[tuple[str, str]]) -> pa.Table:
    """Rows of ``case``, OWN_TIME, ``dim_0`` and so on, and ``label`` where cases have one, from a file's name and text.

    Cases have no order in time, but parts are cut from a time axis: so each gets a stretch of it, as long as the longest.
    Those of the training file are dealt so that any run of them holds the classes in proportion (``dealt``) and end where
    the test file begins, at TEST_TIME.
    """
    parts = [read(name, text) for name, text in files]
    if len({part.values_RP.shape[1] for part in parts}) > 1 or len({part.label_M is None for part in parts}) > 1:
        raise InputError(f"'{files[0][0]}' and '{files[1][0]}' differ in dimensions or classes; name files of one set")
    stretch = int(max(part.length_M.max() for part in parts))
    starts = [_place(part, stretch, first=TEST_TIME) for part in parts]
    starts[0] = _place(parts[0], stretch, last=TEST_TIME)
    names = [_case_names(word, len(part.length_M)) for word, part in zip(NAMES[len(parts)], parts, strict=True)]
    length = np.concatenate([part.length_M for part in parts])
    of_row = np.repeat(np.arange(len(length)), length)
    step = np.arange(len(of_row)) - (np.cumsum(length) - length)[of_row] + np.concatenate(starts)[of_row]
    values_RP = np.concatenate([part.values_RP for part in parts])
    columns = {
        CASE: pa.array(np.concatenate(names)[of_row]),
        OWN_TIME: pa.array(step),
        **{f"{DIMENSION}{d}": pa.array(values_RP[:, d], from_pandas=True) for d in range(values_RP.shape[1])},
    }
    labels = [part.label_M for part in parts if part.label_M is not None]
    if labels:
        columns[LABEL] = pa.array(np.concatenate(labels)[of_row])
    return pa.table(columns)


def dealt(label_M: Sequence[str]) -> NDArray:
    """An order of cases, int64 [M], in which any run holds the classes in proportion, a case or so aside.

    Each class is shuffled with a fixed seed and spread evenly from end to end.
    """
    labels = np.asarray(label_M)
    random = np.random.default_rng(SEED)
    place_M = np.empty(len(labels))
    for name in np.unique(labels):
        own = np.flatnonzero(labels == name)
        place_M[random.permutation(own)] = (np.arange(len(own)) + 0.5) / len(own)
    return np.argsort(place_M, kind="stable")


def _place(part: Cases, stretch: int, *, first: int | None = None, last: int | None = None) -> NDArray:
    """Each case's first time: in the file's order from ``first``, or dealt and ending at ``last``."""
    num = len(part.length_M)
    if first is not None:
        return first + stretch * np.arange(num)
    assert last is not None
    start_M = np.empty(num, dtype=np.int64)
    start_M[dealt(part.label_M or [""] * num)] = last - stretch * np.arange(num, 0, -1)
    return start_M


def _case_names(word: str, num: int) -> NDArray:
    """Numbered as in the file, so that names in order are cases in order."""
    width = len(str(num - 1))
    return np.asarray([f"{word}-{index:0{width}d}" for index in range(num)])


def _floats(name: str, numbers: list[str], lengths: NDArray) -> NDArray:
    texts = [None if (text := number.strip()) in ("?", "NaN", "nan", "") else text for number in numbers]
    try:
        values: NDArray = pa.array(texts, pa.string()).cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        at = next(i for i, text in enumerate(texts) if text is not None and not _is_number(text))
        case = int(np.searchsorted(np.cumsum(lengths), at, side="right"))
        raise InputError(
            f"case {case} of '{name}' holds '{texts[at]}', which is no number; write ? for a missing one"
        ) from None
    return values


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_true(told: dict[str, list[str]], key: str) -> bool:
    return [word.lower() for word in told.get(key, [])[:1]] == ["true"]
