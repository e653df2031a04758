"""Which series of a large table are looked at."""

from __future__ import annotations

import polars as pl

from lstm_ray.explore.table import sampled


def test_whole_series_are_drawn_and_the_same_ones_again():
    lengths = pl.DataFrame({"series": [f"s{i}" for i in range(50)], "rows": [10] * 50})
    names = sampled(lengths, 105, seed=7)
    assert names is not None
    assert len(names) == 10
    assert names == sampled(lengths.sample(fraction=1, shuffle=True, seed=1), 105, seed=7)
    assert names != sampled(lengths, 105, seed=8)


def test_one_series_is_looked_at_however_long():
    lengths = pl.DataFrame({"series": ["a", "b"], "rows": [1000, 1000]})
    assert len(sampled(lengths, 10, seed=7) or []) == 1
    assert sampled(lengths, 2000, seed=7) is None
    assert sampled(lengths.head(1), 10, seed=7) is None
