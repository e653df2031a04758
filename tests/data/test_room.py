"""Large arrays lie on disk and behave as others do; a disk without room is an error, not a crash."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import numpy as np
import pytest

from lstm_ray.data import room
from lstm_ray.errors import InputError


def test_small_arrays_lie_in_memory_and_large_ones_in_a_file_that_goes_with_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setattr(room, "MAPPED_FROM_BYTES", 800)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    small, large = room.empty([99], np.float64), room.empty([10, 10], np.float64)
    assert room.mapping(small) is None
    assert room.mapping(large) is room.mapping(large[2:4]) is not None
    assert type(large) is np.ndarray, "another class would be copied twice on its way to another process"
    large[:] = np.arange(100).reshape(10, 10)
    room.let_go(small, large)
    np.testing.assert_array_equal(large[3], np.arange(30, 40))
    assert os.listdir(str(tmp_path)) == [], "the file has no name that could be left behind"


def test_a_disk_without_room_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    fallocate: Callable[..., None] = full
    monkeypatch.setattr(room, "MAPPED_FROM_BYTES", 8)
    monkeypatch.setattr(os, "posix_fallocate", fallocate)
    with pytest.raises(InputError, match=r"no room for an array of 0\.0 GB \(No space left on device\).*TMPDIR"):
        room.empty([1000], np.float32)
