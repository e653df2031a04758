"""The knee and the capacity, on curves that are known."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_ray.stress.curve import capacity_of, knee_of, p99_interval, step_of
from lstm_ray.stress.loading import Loaded
from tests.stress import made

USERS = [1, 2, 4, 8, 16, 32, 64, 128]


def law(users: float, rate: float, contention: float, coherency: float) -> float:
    return rate * users / (1 + contention * (users - 1) + coherency * users * (users - 1))


def test_the_law_behind_made_up_throughput_is_found_again() -> None:
    steps = [made.step(users, law(users, 100, 0.05, 0.001), 10.0) for users in USERS]
    knee = knee_of(steps)
    assert knee is not None
    assert (knee.rate, knee.contention, knee.coherency) == pytest.approx((100, 0.05, 0.001), rel=1e-6)
    most = np.sqrt(0.95 / 0.001)
    assert knee.peak_per_second == pytest.approx(law(float(most), 100, 0.05, 0.001))
    assert knee.users == pytest.approx(knee.peak_per_second / 100)
    assert knee.low == pytest.approx(knee.users) == pytest.approx(knee.high)
    assert knee.reached
    np.testing.assert_allclose(knee.per_second_of(np.array([8.0])), [law(8, 100, 0.05, 0.001)])


def test_a_server_that_saturates_has_its_knee_where_its_two_lines_meet() -> None:
    steps = [made.step(users, law(users, 100, 0.1, 0.0), 10.0) for users in USERS]
    knee = knee_of(steps)
    assert knee is not None
    assert knee.users == pytest.approx(10.0, rel=1e-6), "100 a second alone, at most 1,000: ten clients fill it"


def test_a_knee_beyond_the_load_is_told_as_such() -> None:
    knee = knee_of([made.step(users, law(users, 100, 0.01, 0.0), 10.0) for users in (1, 2, 4, 8)])
    assert knee is not None
    assert (knee.reached, knee.users) == (False, pytest.approx(100.0, rel=1e-6))


def test_noise_is_told_as_a_range() -> None:
    random = np.random.default_rng(1)
    steps = [made.step(users, law(users, 100, 0.1, 0.0) * random.uniform(0.9, 1.1), 10.0) for users in USERS]
    knee = knee_of(steps)
    assert knee is not None
    assert knee.low < knee.users < knee.high
    assert knee.users == pytest.approx(10.0, rel=0.25)


def test_no_knee_is_made_up_where_none_can_be_told() -> None:
    assert knee_of([made.step(users, 100.0 * users, 10.0) for users in USERS]) is None, "it grows in step"
    assert knee_of([made.step(users, 100.0, 10.0) for users in USERS[:3]]) is None, "too few steps"
    assert knee_of([made.step(users, 0.0, None) for users in USERS]) is None, "nobody was answered"


def test_capacity_lies_between_the_last_step_that_held_and_the_first_that_did_not() -> None:
    steps = [made.step(16, 400, 50.0), made.step(64, 800, 400.0), made.step(32, 600, 100.0)]
    found = capacity_of(steps, 200.0)
    assert (found.state, found.by) == ("found", "p99")
    assert found.users == pytest.approx(32 * 2**0.5), "200 ms is half way from 100 to 400 on a scale of logarithms"
    assert found.per_second == pytest.approx(700)


def test_the_first_step_that_does_not_hold_ends_it_even_if_a_later_one_does() -> None:
    steps = [made.step(1, 100, 50.0), made.step(2, 150, 300.0), made.step(4, 300, 60.0)]
    found = capacity_of(steps, 200.0)
    assert found.users is not None
    assert 1 < found.users < 2


@pytest.mark.parametrize(
    ("lost", "by"),
    [
        (made.step(8, 500, 60.0, shed=0.2), "shed"),
        (made.step(8, 500, 60.0, failed=0.01), "failed"),
        (made.step(8, 0, None), "failed"),
    ],
)
def test_a_load_that_turns_requests_away_or_fails_them_is_not_borne(lost: made.Step, by: str) -> None:
    found = capacity_of([made.step(4, 400, 50.0), lost], 200.0)
    assert (found.state, found.users, found.per_second, found.by) == ("found", 4, 400, by)


def test_a_capacity_that_was_not_met_is_not_made_up() -> None:
    assert capacity_of([made.step(1, 100, 50.0), made.step(2, 180, 60.0)], 200.0).state == "not reached"
    never = capacity_of([made.step(1, 100, 250.0), made.step(2, 180, 60.0)], 200.0)
    assert (never.state, never.users, never.per_second) == ("never held", None, None)


def test_a_step_is_what_valid_clients_saw_after_its_beginning() -> None:
    times = np.arange(0, 10, 0.01)
    slow_start = np.where(times < 1, 500.0, 20.0)
    requests = made.together(
        made.requests(times.tolist(), slow_start.tolist()),
        made.requests(times.tolist(), 9_000.0, kind="slow"),
        made.requests(times.tolist(), 9_000.0, 422, kind="hostile"),
        made.requests([5.0] * 50, 1.0, 503, away=True),
        made.requests([6.0] * 50, 1.0, 500),
    )
    cpu = [(when, 0.5 * when) for when in np.arange(0, 10, 0.5)]
    step = step_of(Loaded(requests, [0.0, 10.0], cpu), 8, 0.0, 10.0)
    assert (step.answered, step.p99_ms, step.seconds) == (900, 20.0, 9.0)
    assert step.per_second == pytest.approx(100)
    assert step.shed == step.failed == pytest.approx(0.05)
    assert step.generator == pytest.approx(0.5)


def test_the_interval_of_the_p99_holds_it_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    true = -np.log(0.01)
    told = [p99_interval(random.exponential(size=2_000)) for _ in range(300)]
    held = [low is not None and high is not None and low <= true <= high for low, high in told]
    assert 0.91 <= np.mean(held) <= 0.99
    assert p99_interval(np.arange(50.0)) == (None, None), "fifty requests tell no 99th percentile's interval"
