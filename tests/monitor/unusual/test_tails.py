"""The far end of usual scores, thinned, and a limit that follows."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lstm_ray.monitor.unusual.tails import Limit, Tail


@pytest.mark.parametrize(("count", "rate"), [(99, 0.01), (500, 0.01), (20_000, 0.001), (20_000, 0.1)])
def test_scores_over_a_limit_are_at_most_as_frequent_as_stated(count: int, rate: float) -> None:
    shares = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        tail = Tail.of(rng.exponential(size=count))
        assert tail is not None
        limit = tail.limit(rate)
        assert limit is not None
        shares.append(np.exp(-limit))
    assert np.mean(shares) <= 1.1 * rate
    assert np.mean(shares) >= 0.4 * rate


def test_too_few_scores_give_no_limit() -> None:
    tail = Tail.of(np.arange(98.0))
    assert tail is not None
    assert tail.limit(0.01) is None
    assert Tail.of(np.array([np.nan])) is None


def test_a_p_value_is_never_told_too_small() -> None:
    scores = np.random.default_rng(0).exponential(size=3_000)
    tail = Tail.of(scores)
    assert tail is not None
    for score in (0.01, 1.0, 4.0, 7.0, 100.0):
        exact = (1 + np.count_nonzero(scores >= score)) / 3_001
        assert exact <= tail.p(score) <= 1.5 * exact
    assert tail.p(-1.0) == 1.0


def test_it_travels_as_plain_numbers() -> None:
    tail = Tail.of(np.random.default_rng(0).exponential(size=3_000))
    assert tail is not None
    again = Tail.from_dict(json.loads(json.dumps(tail.as_dict())))
    assert again is not None
    assert again.limit(0.01) == pytest.approx(tail.limit(0.01))


def test_the_limit_rises_with_scores_as_a_whole_and_never_falls_below_what_it_was() -> None:
    limit, rng = Limit(0.01), np.random.default_rng(0)
    far, common = np.log(100), np.log(10)
    for _ in range(100):
        scores = 4 * rng.exponential(size=100)
        limit.over(scores / far, scores / common)
    assert 3 < limit.multiple < 9
    limit.over(np.zeros(50_000), np.zeros(50_000))
    assert limit.multiple == 1.0
