from __future__ import annotations

import numpy as np
import pytest

from lstm_ray.on_ray import pieces

PIECE = {
    "curve": np.arange(6.0).reshape(2, 3),
    "holes": np.array([np.nan, 1.0], np.float32),
    "times": np.array(["2024-01-01"], "datetime64[us]"),
    "names": np.array(["ä", "b"]),
    "cost": 3.25,
    "kept": True,
    "words": {"of": ["any", 1]},
}


class Counted:
    """Tasks in this process; it tells which it was given."""

    def __init__(self):
        self.given: list[int] = []

    def each(self, function, tasks):
        for number, task in reversed(list(enumerate(tasks))):
            self.given.append(task[0])
            yield number, function(None, None, *task)


def squares(policy, world, number):
    return {"square": number**2, "row": np.full(2, number)}


def test_a_piece_is_made_once_and_comes_back_as_it_was(tmp_path):
    made = []

    def make():
        made.append(1)
        return PIECE

    for _ in range(2):
        found = pieces.kept(tmp_path, ["decision", 3], make)
        assert found.keys() == PIECE.keys()
        for name, value in PIECE.items():
            if isinstance(value, np.ndarray):
                assert found[name].dtype == value.dtype
                np.testing.assert_array_equal(found[name], value)
            else:
                assert found[name] == value
    assert len(made) == 1
    pieces.kept(tmp_path, ["decision", 4], make)
    assert len(made) == 2, "another key, another piece"


@pytest.mark.parametrize("damage", [b"", b"PK nothing", None])
def test_a_damaged_piece_is_made_anew(tmp_path, damage):
    pieces.kept(tmp_path, 1, lambda: {"value": 1})
    (file,) = (tmp_path / pieces.FOLDER).iterdir()
    file.write_bytes(file.read_bytes()[:-30] if damage is None else damage)
    assert pieces.kept(tmp_path, 1, lambda: {"value": 2}) == {"value": 2}
    assert pieces.kept(tmp_path, 1, lambda: {"value": 3}) == {"value": 2}


def test_what_no_reader_would_take_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        pieces.kept(tmp_path, 1, lambda: {"policy": np.array([object()])})
    with pytest.raises(ValueError, match="not JSON compliant"):
        pieces.kept(tmp_path, 1, lambda: {"cost": float("nan")})
    assert pieces.read(tmp_path, 1) is None


def test_tasks_that_are_done_are_not_given_to_the_pool_again(tmp_path):
    first, second = Counted(), Counted()
    keys = [["square", number] for number in range(5)]
    tasks = [(number,) for number in range(5)]
    half = pieces.each(first, tmp_path, squares, tasks, keys)
    assert [next(half)[0] for _ in range(3)] == [4, 3, 2]
    half.close()
    found = dict(pieces.each(second, tmp_path, squares, tasks, keys))
    assert second.given == [1, 0]
    assert {number: piece["square"] for number, piece in found.items()} == {n: n**2 for n in range(5)}
    pieces.clear(tmp_path)
    assert not list(tmp_path.iterdir())
    pieces.clear(tmp_path)
