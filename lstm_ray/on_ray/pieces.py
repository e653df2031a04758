"""Finished pieces of a stage's work, kept in its folder so that a killed driver goes on after them. Knows no stage.

A piece is a dict of NumPy arrays (numbers, texts, times) and plain values; no pickle. Its name is a hash of its key, so that
a piece of other settings is never taken for it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4
from zipfile import BadZipFile

import numpy as np

from lstm_ray.on_ray.pool import Pool
from lstm_ray.run_dir import digest, to_json

FOLDER = "pieces"
"""In a stage's folder; gone when the stage is whole."""
PLAIN = "__plain__"
"""Stands for a piece's plain values, as JSON, among its arrays."""
Piece = dict[str, Any]


def kept(folder: Path, key: Any, make: Callable[[], Piece]) -> Piece:
    """The piece of that key, made where the stage's folder does not hold it whole.

    Args:
        key: plain values that say which piece it is: what is made, of what, by which settings and seed.
        make: gives arrays and values that JSON can hold (no NaN outside of arrays).
    """
    found = read(folder, key)
    return _written(folder, key, make()) if found is None else found


def each(
    pool: Pool, folder: Path, function: Callable[..., Piece], tasks: Sequence[Sequence[Any]], keys: Sequence[Any]
) -> Iterator[tuple[int, Piece]]:
    """``pool.each`` for a function that answers with a piece: first those that are kept, then the others as they come."""
    missing = []
    for number, key in enumerate(keys):
        if (found := read(folder, key)) is None:
            missing.append(number)
        else:
            yield number, found
    for turn, answer in pool.each(function, [tasks[number] for number in missing]):
        yield missing[turn], _written(folder, keys[missing[turn]], answer)


def read(folder: Path, key: Any) -> Piece | None:
    """The piece, or None where it is missing or damaged."""
    try:
        with open(_file(folder, key), "rb") as file, np.load(file, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
        plain: Piece = json.loads(str(arrays.pop(PLAIN)))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None
    return plain | arrays


def clear(folder: Path) -> None:
    """Remove all pieces of a stage that is whole."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def _written(folder: Path, key: Any, piece: Piece) -> Piece:
    """Write a piece, whole or not at all, and read it: who goes on after a kill has the very same values."""
    arrays = {name: value for name, value in piece.items() if isinstance(value, np.ndarray)}
    plain = to_json({name: value for name, value in piece.items() if name not in arrays}).decode()
    file = _file(folder, key)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(f".{uuid4().hex[:8]}.tmp")
    with open(temporary, "wb") as stream:
        np.savez(stream, allow_pickle=False, **{PLAIN: np.array(plain)}, **arrays)
    temporary.rename(file)
    found = read(folder, key)
    assert found is not None, f"{file} was written and cannot be read"
    return found


def _file(folder: Path, key: Any) -> Path:
    return folder / FOLDER / f"{digest(key)[:32]}.npz"
