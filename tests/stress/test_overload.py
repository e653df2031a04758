"""Shedding, recovery and outages, on loads that never took place."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_ray.stress.overload import Places, outage_of, recovery_of, shedding_of, timeline_of
from tests.stress import made

CALM = [made.step(1, 100, 10.0), made.step(32, 600, 90.0)]


def test_overload_is_bounded_where_the_accepted_wait_no_longer_than_the_target_or_twice_the_busiest_quiet_load() -> (
    None
):
    found = shedding_of([*CALM, made.step(400, 600, 170.0, shed=0.4)], target_ms=100.0)
    assert (found.state, found.users, found.share) == ("bounded", 400, 0.4)
    assert found.bound_ms == 180.0
    assert shedding_of([*CALM, made.step(400, 600, 400.0, shed=0.4)], target_ms=500.0).state == "bounded"


def test_overload_is_unbounded_where_the_accepted_wait_longer() -> None:
    loads = [*CALM, made.step(400, 600, 190.0, shed=0.4), made.step(800, 600, 150.0, shed=0.8)]
    found = shedding_of(loads, target_ms=100.0)
    assert (found.state, found.users) == ("unbounded", 800)


PLACES = Places(working=64, queued=256, longest_seconds=1.0)


def test_the_bound_is_what_a_full_queue_is_worth_at_the_throughput_measured_there() -> None:
    crowd = made.step(512, 400, 1_500.0, shed=0.2)
    assert shedding_of([*CALM, crowd], 100.0).state == "unbounded", (
        "twice the p99 of 32 clients says nothing of a queue"
    )
    found = shedding_of([*CALM, crowd], 100.0, PLACES)
    assert (found.state, found.full_ms, found.bound_ms) == ("bounded", 800.0, 1_600.0)
    assert shedding_of([*CALM, made.step(512, 400, 1_700.0, shed=0.2)], 100.0, PLACES).state == "unbounded"


def test_a_slow_server_lets_nobody_wait_longer_than_it_says() -> None:
    assert PLACES.wait_ms(64) == 2_000.0, "a second of work and a second of waiting, not five"


def test_failing_is_not_shedding() -> None:
    assert shedding_of([*CALM, made.step(400, 600, 100.0, shed=0.4, failed=0.1)], 100.0).state == "failed"
    assert shedding_of([*CALM, made.step(400, 600, 100.0, failed=0.1)], 100.0).state == "failed"
    assert shedding_of([*CALM, made.step(400, 0, None, shed=1.0)], 100.0).state == "failed", (
        "nobody was answered at all"
    )
    assert shedding_of(CALM, 100.0).state == "none was needed"


def spiked(late_until: float, lost_at: float | None = None) -> made.Requests:
    """A hundred a second from 0 to 20 s, a spike from 3 to 8 s, late answers until later."""
    times = np.arange(0, 20, 0.01)
    ms = np.where((times < 0.9) | ((times > 3) & (times < late_until)), 500.0, 10.0)
    status = np.full(len(times), 200)
    if lost_at is not None:
        status[np.searchsorted(times, lost_at)] = 0
    return made.requests(times.tolist(), ms.tolist(), status.tolist())


def test_recovery_is_told_from_the_end_of_the_spike_to_the_first_calm_half_second() -> None:
    assert recovery_of(spiked(10.0), 0.0, 3.0, 8.0, 20.0).seconds == pytest.approx(2.0)
    assert recovery_of(spiked(8.0), 0.0, 3.0, 8.0, 20.0).seconds == pytest.approx(0.0)


def test_a_lost_request_starts_the_calm_anew() -> None:
    assert recovery_of(spiked(10.0, lost_at=10.7), 0.0, 3.0, 8.0, 20.0).seconds == pytest.approx(3.0)


def test_a_server_that_stays_late_has_not_recovered() -> None:
    found = recovery_of(spiked(19.5), 0.0, 3.0, 8.0, 20.0)
    assert (found.seconds, found.watched_seconds) == (None, 12.0)
    silent = recovery_of(made.requests([0.5, 1.0]), 0.0, 3.0, 8.0, 20.0)
    assert silent.seconds is None, "nobody was answered after it"
    assert recovery_of(made.requests([9.0]), 0.0, 3.0, 8.0, 20.0).before_ms is None


def test_an_outage_is_what_callers_lost_after_the_kill() -> None:
    before, lost, after = np.arange(0, 5, 0.01), [5.1, 5.4], np.arange(9, 12, 0.01)
    requests = made.together(
        made.requests(before.tolist()), made.requests(lost, status=[0, 502]), made.requests(after.tolist())
    )
    found = outage_of(requests, killed=5.0, end=12.0, replicas=1, back=9.2)
    assert (found.failed, found.asked) == (2, 302)
    assert found.seconds == pytest.approx(0.3)
    assert found.silent_seconds == pytest.approx(4.0)
    assert found.back_seconds == pytest.approx(4.2)
    assert found.answering


def test_a_server_that_never_came_back_is_not_answering() -> None:
    requests = made.requests(np.arange(0, 5, 0.01).tolist())
    found = outage_of(requests, killed=5.0, end=12.0, replicas=1, back=None)
    assert (found.answering, found.back_seconds, found.silent_seconds) == (False, None, 7.0)


def test_a_timeline_counts_each_bin_once() -> None:
    requests = made.together(
        made.requests([10.1, 10.2, 10.7], [5.0, 5.0, 50.0]),
        made.requests([10.3], status=503, away=True),
        made.requests([11.1], status=500),
    )
    found = timeline_of(requests, 10.0, 11.5, {"spike": 10.5})
    assert (found.answered, found.away, found.failed) == ([4.0, 2.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 2.0])
    assert found.p95_ms == [5.0, 50.0, None]
    assert (found.seconds, found.marks) == ([0.25, 0.75, 1.25], {"spike": 0.5})
