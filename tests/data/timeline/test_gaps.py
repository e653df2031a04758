"""Runs of missing time stamps are counted by length, alike in blocks and in the whole."""

from __future__ import annotations

from functools import reduce

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from lstm_ray.data.timeline.gaps import Gaps, gaps_of


def frame_of(steps: dict[str, set[int]]) -> pl.DataFrame:
    rows = [(name, step * 5) for name in sorted(steps) for step in sorted(steps[name])]
    return pl.DataFrame(rows, schema={"series": pl.String, "time": pl.Int64}, orient="row")


def test_runs_are_counted_by_their_length_and_the_longest_is_named() -> None:
    found = gaps_of(frame_of({"a": {0, 1, 3, 10}, "b": {0, 7, 8, 33, 2000}}), 5)
    assert found == Gaps((1, 2, 1, 0, 0, 1), 1 + 6 + 6 + 24 + 1966, 1966, "b", 165)
    assert found.words == "1 of 1 step, 2 of 2-6 steps, 1 of 7-24 steps, 1 of over 1,000 steps"


def test_a_table_without_gaps_has_none() -> None:
    assert gaps_of(frame_of({"a": {0, 1, 2}, "b": {5}}), 5) == Gaps()
    assert Gaps().words == ""


@given(st.dictionaries(st.sampled_from("abcd"), st.sets(st.integers(0, 40), min_size=1)), st.permutations("abcd"))
def test_gaps_of_blocks_add_up_to_those_of_the_whole(steps: dict[str, set[int]], order: list[str]) -> None:
    blocks = [gaps_of(frame_of({name: steps[name]}), 5) for name in order if name in steps]
    whole = gaps_of(frame_of(steps), 5)
    assert reduce(Gaps.merge, blocks, Gaps()) == whole
    assert whole.steps == sum(max(own) - min(own) + 1 - len(own) for own in steps.values())
