"""Alarms begin at their limit, end well under it, and know how long they have stood."""

from __future__ import annotations

import pytest

from lstm_ray.monitor.alarms import Alarms, Reading, surely_over


class Clock:
    seconds = 50.0

    def __call__(self) -> float:
        return self.seconds


def reading(value: float, for_seconds: float = 0.0, what: str = "p99") -> Reading:
    return Reading("latency", what, value, 100.0, f"{value} ms", for_seconds)


def test_an_alarm_begins_at_its_limit_and_ends_well_under_it() -> None:
    clock = Clock()
    alarms = Alarms(clock)
    stands = []
    for value in (99, 100, 95, 91, 89, 95, 100):
        alarms.take([reading(value)])
        stands.append(len(alarms.rows()))
    assert stands == [0, 1, 1, 1, 0, 0, 1]


def test_a_value_that_plays_about_its_limit_is_one_alarm() -> None:
    clock = Clock()
    alarms = Alarms(clock)
    for step in range(50):
        clock.seconds += 1
        alarms.take([reading(99.0 if step % 2 else 101.0)])
    [row] = alarms.rows()
    assert row["since_seconds"] == 49
    assert (row["kind"], row["what"], row["limit"], row["text"]) == ("latency", "p99", 100.0, "99.0 ms")


def test_what_must_stand_for_a_while_raises_none_before() -> None:
    clock = Clock()
    alarms = Alarms(clock)
    for _ in range(5):
        alarms.take([reading(150, for_seconds=5)])
        assert not alarms.rows()
        clock.seconds += 1
    alarms.take([reading(150, for_seconds=5)])
    assert alarms.rows()[0]["since_seconds"] == 5
    alarms.take([reading(50, for_seconds=5)])
    alarms.take([reading(150, for_seconds=5)])
    assert not alarms.rows(), "it begins to stand anew"


def test_what_is_not_measured_any_more_is_no_alarm() -> None:
    alarms = Alarms(Clock())
    alarms.take([reading(150), reading(150, what="p95")])
    alarms.take([reading(150)])
    assert [row["what"] for row in alarms.rows()] == ["p99"]


@pytest.mark.parametrize(
    ("number", "of", "over"),
    [(1, 1, False), (2, 2, True), (1, 50, False), (10, 100, True), (105, 10_000, False), (0, 0, False)],
)
def test_a_share_is_over_its_limit_where_chance_does_not_explain_it(number: int, of: int, over: bool) -> None:
    assert surely_over(number, of, 0.01) is over
