"""Which windows' errors a path follows: whole, together, one after another, and never those of its own future."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lstm_ray.errors import InputError
from lstm_ray.model.residuals import Residuals
from lstm_ray.plan.futures.draws import NEAR, nearest, rows_drawn

H = 6


def library(steps: NDArray, names: list[str]) -> Residuals:
    """Every series at every step."""
    step_R, series_R = (v.T.ravel() for v in np.meshgrid(steps, np.arange(len(names))))
    return Residuals((0.5,), np.zeros((len(step_R), H, 1), np.float32), step_R, series_R, names)


LIBRARY = library(np.arange(500, 900), ["a", "b", "c"])


def drawn(
    origin: int, name: str, paths: int = 9, blocks: int = 3, season: int = 24, of: Residuals = LIBRARY
) -> NDArray:
    found: NDArray = rows_drawn(of, np.array([origin]), [name], paths, blocks, season, 7)[0]
    return found


def test_draws_depend_on_the_seed_the_origin_and_the_path_alone() -> None:
    whole = rows_drawn(LIBRARY, np.array([40, 80, 40]), ["a", "b", "c"], 9, 3, 24, 7)
    assert whole.shape == (3, 9, 3)
    np.testing.assert_array_equal(whole[1], drawn(80, "b"))
    np.testing.assert_array_equal(whole[0], drawn(40, "a"))
    np.testing.assert_array_equal(whole[0, :4], drawn(40, "a", paths=4))
    assert (drawn(40, "a") != drawn(41, "a")).any()
    assert (whole != rows_drawn(LIBRARY, np.array([40, 80, 40]), ["a", "b", "c"], 9, 3, 24, 8)).any()


def test_series_that_start_together_follow_windows_that_began_together() -> None:
    a, c = drawn(40, "a"), drawn(40, "c")
    np.testing.assert_array_equal(LIBRARY.step_R[a], LIBRARY.step_R[c])
    assert (LIBRARY.series_R[a] == 0).all()
    assert (LIBRARY.series_R[c] == 2).all()


def test_paths_of_an_origin_follow_different_windows_as_long_as_there_are_any() -> None:
    assert len(np.unique(drawn(40, "a", paths=50)[:, 0])) == 50
    few = library(np.arange(1_000, 1_005), ["a"])
    assert sorted(np.bincount(drawn(40, "a", paths=12, blocks=1, of=few)[:, 0])) == [2, 2, 2, 3, 3]


def test_a_path_goes_on_where_its_window_ended_and_after_the_last_time_in_the_same_phase_from_the_first() -> None:
    steps = LIBRARY.step_R[drawn(40, "a", paths=100, blocks=4)]
    after = np.diff(steps, axis=1)
    assert set(np.unique(after[after > 0])) == {H}
    assert set(np.unique(after[after < 0])) == {H - 384}, "16 whole days of 400 steps"


def test_windows_are_of_the_origins_phase_where_there_are_enough() -> None:
    many = library(np.arange(5_000), ["a"])
    first = many.step_R[drawn(6_003, "a", paths=400, of=many)[:, 0]]
    assert set(first % 24) == {6_003 % 24}
    off = (LIBRARY.step_R[drawn(40, "a", paths=NEAR)[:, 0]] - 40) % 24
    assert np.minimum(off, 24 - off).max() <= 3, "five phases of 400 / 24 times are too few, seven are enough"


@pytest.mark.parametrize("origin", [500, 503, 700, 890, 899])
def test_no_window_overlaps_the_paths_own_future(origin: int) -> None:
    begins = LIBRARY.step_R[drawn(origin, "b", paths=300)]
    assert ((begins + H <= origin) | (begins >= origin + 3 * H)).all()


def test_a_short_library_is_drawn_from_block_by_block_and_never_in_sample() -> None:
    short = library(np.arange(500, 530), ["a"])
    begins = short.step_R[drawn(512, "a", paths=60, blocks=2, of=short)]
    assert ((begins + H <= 512) | (begins >= 512 + 2 * H)).all()
    assert (np.diff(begins, axis=1) != H).any(), "not everything that follows is free"


def test_where_every_window_overlaps_other_series_serve_and_else_it_is_said_what_to_do() -> None:
    tiny = library(np.arange(500, 504), ["a", "b", "c"])
    rows = drawn(500, "a", of=tiny)
    assert (tiny.series_R[rows] != 0).all()
    with pytest.raises(
        InputError, match=r"series 'a', step 500.*set plan\.steps lower, or give split\.validation more"
    ):
        drawn(500, "a", of=library(np.arange(500, 504), ["a"]))


def test_a_series_without_a_window_at_a_time_takes_its_nearest_and_a_stranger_anothers() -> None:
    step_R = np.sort(np.concatenate([np.arange(500, 900), [500, 890]]))
    series_R = np.zeros(len(step_R), np.int64)
    series_R[np.searchsorted(step_R, [500, 890])] = 1
    sparse = Residuals((0.5,), np.zeros((len(step_R), H, 1), np.float32), step_R, series_R, ["a", "b"])
    wanted = sparse.step_R[drawn(40, "a", paths=100, of=sparse)]
    found = drawn(40, "b", paths=100, of=sparse)
    assert (sparse.series_R[found] == 1).all()
    np.testing.assert_array_equal(sparse.step_R[found], np.where(wanted <= 695, 500, 890))
    stranger = drawn(40, "nobody", paths=100, of=sparse)
    np.testing.assert_array_equal(sparse.step_R[stranger], wanted)
    # Its nearest window overlaps what follows step 888: another's serves.
    near_end = drawn(888, "b", paths=100, of=sparse)
    assert (sparse.step_R[near_end] != 890).all()


def test_the_nearest_of_two_equally_near_is_the_earlier() -> None:
    assert nearest(np.array([0, 10, 20]), np.array([-5, 5, 6, 14, 16, 99])).tolist() == [0, 0, 1, 1, 2, 2]
