"""Tallies of a replica."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_ray.monitor.drift.drift import ColumnCounts
from lstm_ray.monitor.traffic import MAX_ANSWERS, Answer, Tally, latency_quantile


def test_latency_quantiles_are_right_within_a_bin() -> None:
    tally = Tally()
    seconds = np.random.default_rng(0).lognormal(-5, 1, 5_000)
    for value in seconds:
        tally.add_request("/v1/forecast", 200, float(value))
    for share in (0.5, 0.95, 0.99):
        assert latency_quantile(tally.latency_K, share) == pytest.approx(1000 * np.quantile(seconds, share), rel=0.13)


def test_latencies_outside_every_bin_are_counted_at_the_ends() -> None:
    tally = Tally()
    tally.add_request("/v1/forecast", 200, 1e-9)
    tally.add_request("/v1/forecast", 200, 1e9)
    assert tally.latency_K.sum() == 2
    assert latency_quantile(tally.latency_K, 1.0) == pytest.approx(100_000)


def test_probes_count_as_requests_but_not_in_the_latency() -> None:
    tally = Tally()
    tally.add_request("/healthz", 200, None)
    assert tally.requests["/healthz", 200] == 1
    assert latency_quantile(tally.latency_K, 0.5) is None


def test_two_tallies_add_up() -> None:
    first, second = Tally(), Tally()
    first.add_request("/v1/forecast", 200, 0.01)
    second.add_request("/v1/forecast", 200, 0.01)
    second.add_request("/v1/forecast", 422, None)
    second.inputs = {"wind": ColumnCounts(np.ones(3), 1, 4, 2.0)}
    second.num_series, second.warned_series = 3, 1
    first.add(second)
    assert first.requests == {("/v1/forecast", 200): 2, ("/v1/forecast", 422): 1}
    assert first.latency_K.sum() == 2
    assert (first.num_series, first.warned_series, first.inputs["wind"].total) == (3, 1, 4)


def test_a_tally_keeps_a_bounded_number_of_answers() -> None:
    tally, more = Tally(), Tally()
    more.answers = [Answer("a", 0, np.zeros((2, 1)))] * (MAX_ANSWERS - 1)
    tally.add(more)
    tally.add(more)
    assert len(tally.answers) == MAX_ANSWERS
