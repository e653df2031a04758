"""Arrays that need not fit in memory: large ones are mapped from a file that goes with them. NumPy alone."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lstm_ray.errors import InputError

MAPPED_FROM_BYTES = 256_000_000
"""Arrays of this size and above lie in files: the system keeps in memory what is used of them, and takes it back."""
CHUNK_ROWS = 1_000_000
"""Rows that are worked on at a time, where all of them may be too many."""


def empty(shape: Sequence[int], dtype: DTypeLike) -> NDArray:
    """An array to be filled: in memory, or from MAPPED_FROM_BYTES on in a file without a name under TMPDIR.

    Raises InputError where the disk has no room for it.
    """
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if size < MAPPED_FROM_BYTES:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile(prefix="lstm-ray-") as file:
        try:
            # A mapped page that the disk has no room for would end the process without a word.
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            raise InputError(
                f"'{tempfile.gettempdir()}' has no room for an array of {size / 1e9:.1f} GB ({error.strerror}); make room, or "
                "set TMPDIR to a larger disk"
            ) from None
        # As a plain array: one of another class would be copied twice on its way to another process, and read from there.
        return np.asarray(np.memmap(file, dtype, "r+", shape=tuple(shape)))


def let_go(*arrays: NDArray) -> None:
    """Give the memory of mapped arrays back; what is in them stays in their files."""
    for array in arrays:
        mapped = mapping(array)
        if mapped is not None:
            mapped.madvise(mmap.MADV_DONTNEED)


def mapping(array: NDArray) -> mmap.mmap | None:
    """What an array, or the one it is a view of, is mapped by; none: it lies in memory."""
    found: object = array
    while isinstance(found, np.ndarray):
        found = found.base
    return found if isinstance(found, mmap.mmap) else None
