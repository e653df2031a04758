"""What asks for a challenger, and what does not; and that no clock that jumps asks for ever, or never again."""

from __future__ import annotations

from pathlib import Path

import pytest

from lstm_ray.retrain.since import Since
from lstm_ray.retrain.state import CLOCK
from lstm_ray.retrain.triggers import Seen, reasons
from lstm_ray.sections.operate import RetrainConfig

DRIFT = {"kind": "drift", "what": "load", "text": "'load' has moved"}
WORSE = {"kind": "performance", "what": "mae", "text": "the error doubled"}
SLOW = {"kind": "latency", "what": "p99", "text": "slow"}


def seen(
    *alarms: dict[str, str], rows: int = 1_000, new: int = 1_000, since: float = 0.0, before: bool = False
) -> Seen:
    return Seen(alarms, new, rows, since, before)


def test_alarms_of_drift_and_performance_ask_and_others_do_not() -> None:
    assert reasons(RetrainConfig(), seen(DRIFT, SLOW, WORSE)) == [
        "alarm of drift: 'load' has moved",
        "alarm of performance: the error doubled",
    ]
    assert reasons(RetrainConfig(on_drift=False), seen(DRIFT)) == []
    assert reasons(RetrainConfig(on_performance=False), seen(WORSE)) == []


def test_nothing_asks_with_too_few_rows() -> None:
    assert reasons(RetrainConfig(new_rows=10, every_hours=1), seen(DRIFT, rows=199, new=199, since=1e9)) == []


def test_an_alarm_waits_for_the_cooldown_but_the_first_does_not() -> None:
    config = RetrainConfig(cooldown_seconds=100)
    assert not reasons(config, seen(DRIFT, since=99, before=True))
    assert reasons(config, seen(DRIFT, since=100, before=True))
    assert reasons(config, seen(DRIFT))


def test_new_rows_and_hours_ask_where_they_are_to() -> None:
    assert reasons(RetrainConfig(), seen(since=1e9)) == []
    assert "1,000 new rows" in reasons(RetrainConfig(new_rows=1_000), seen())[0]
    # Rows that a refused challenger has seen ask for no other.
    assert reasons(RetrainConfig(new_rows=500), seen(new=400)) == []
    assert "2.0 hours" in reasons(RetrainConfig(every_hours=2), seen(since=7_200))[0]


class Clocks:
    """A wall clock that anyone may set, and one that goes evenly."""

    def __init__(self) -> None:
        self.wall, self.steady = 1e9, 50.0

    def after(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


@pytest.mark.parametrize("jump", [-1e8, 1e8])
def test_a_wall_clock_that_jumps_while_it_runs_changes_nothing(tmp_path: Path, jump: float) -> None:
    clocks = Clocks()
    since = Since(tmp_path, lambda: clocks.wall, lambda: clocks.steady)
    since.mark()
    clocks.after(60)
    clocks.wall += jump
    clocks.after(60)
    assert since.seconds() == pytest.approx(120)


@pytest.mark.parametrize(("jump", "expected"), [(-1e8, 30.0), (0.0, 630.0), (1e8, 1e8 + 630)])
def test_between_processes_a_jump_counts_once_and_never_backwards(tmp_path: Path, jump: float, expected: float) -> None:
    clocks = Clocks()
    Since(tmp_path, lambda: clocks.wall, lambda: clocks.steady).mark()
    clocks.after(600)
    clocks.wall += jump
    # The machine was started anew: the steady clock begins elsewhere.
    clocks.steady = 3.0
    later = Since(tmp_path, lambda: clocks.wall, lambda: clocks.steady)
    clocks.after(30)
    assert later.seconds() == pytest.approx(expected)
    later.mark()
    clocks.after(5)
    assert Since(tmp_path, lambda: clocks.wall, lambda: clocks.steady).seconds() == pytest.approx(5)


def test_a_damaged_clock_begins_anew(tmp_path: Path) -> None:
    (tmp_path / CLOCK).write_text("{")
    assert Since(tmp_path).seconds() < 5
