"""Rows of named series: each once, the better told value of two, deleted for good."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lstm_ray.errors import InputError
from lstm_ray.live import reading, rows
from lstm_ray.live.rows import HISTORY, MEASURED, Added, RowStore
from lstm_ray.live.table import frame

NAN, FAR, DAY = float("nan"), 10, 86_400.0
COLUMNS = ("load", "wind")


@dataclass(frozen=True)
class Told:
    name: str
    tick_T: NDArray
    values_TF: NDArray


class Clock:
    def __init__(self, now: float = 1e9) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def told(name: str, *steps: tuple[int, float, float]) -> Told:
    return Told(name, np.array([s[0] for s in steps], np.int64), np.array([s[1:] for s in steps], float))


def store_in(folder: Path, keep_days: float = 30, max_rows: int = 1000, **clocks: Any) -> RowStore:
    return RowStore(folder / rows.FILE, keep_days * DAY, max_rows, **clocks)


def add(store: RowStore, *series: Told, source: int = HISTORY, columns: tuple[str, ...] = COLUMNS) -> Added:
    return store.add(series, columns, FAR, source)


def kept(folder: Path, since: int = 0) -> list[tuple[Any, ...]]:
    return frame(folder / rows.FILE, since).drop("sequence").rows()


def raw(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())


def test_a_row_that_comes_again_changes_nothing(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    assert add(store, told("a", (1, 2.0, 3.0), (2, 4.0, 5.0))) == Added(new=2)
    assert add(store, told("a", (1, 2.0, 3.0))) == Added(duplicates=1)
    assert add(store, told("a", (1, 2.0, NAN)), source=MEASURED) == Added(duplicates=1)
    assert kept(tmp_path) == [("a", 1, 2.0, 3.0), ("a", 2, 4.0, 5.0)]
    assert reading.newest(tmp_path / rows.FILE) == reading.count(tmp_path / rows.FILE) == 2


def test_a_row_without_values_is_none(tmp_path: Path) -> None:
    assert add(store_in(tmp_path), told("a", (1, NAN, NAN))) == Added()
    assert kept(tmp_path) == []


def test_a_measurement_beats_what_a_history_said_whichever_comes_first(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    add(store, told("a", (1, 2.0, 3.0)))
    assert add(store, told("a", (1, 2.5, NAN)), source=MEASURED) == Added(contradictory=1)
    assert kept(tmp_path) == [("a", 1, 2.5, 3.0)]
    assert add(store, told("a", (1, 2.0, 3.0))) == Added(contradictory=1)
    assert kept(tmp_path) == [("a", 1, 2.5, 3.0)]


def test_the_newest_measurement_wins_and_so_does_the_newest_history(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    for source in (HISTORY, MEASURED):
        for value in (7.0, 8.0):
            add(store, told("a", (1, value, 3.0)), source=source)
        assert kept(tmp_path) == [("a", 1, 8.0, 3.0)]


def test_a_measurement_that_confirms_a_history_is_a_measurement_from_then_on(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    add(store, told("a", (1, 2.0, 3.0)))
    assert add(store, told("a", (1, 2.0, NAN)), source=MEASURED) == Added(duplicates=1)
    add(store, told("a", (1, 9.0, 9.0)))
    assert kept(tmp_path) == [("a", 1, 2.0, 9.0)]


def test_a_missing_value_erases_nothing_and_is_filled_in_later(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    add(store, told("a", (1, NAN, 3.0)))
    assert add(store, told("a", (1, 2.0, NAN))) == Added(completed=1)
    assert kept(tmp_path) == [("a", 1, 2.0, 3.0)]


def test_a_row_that_is_told_twice_at_once_is_taken_in_turn(tmp_path: Path) -> None:
    found = add(store_in(tmp_path), told("a", (2, 1.0, 1.0), (1, 5.0, 5.0), (2, 3.0, NAN), (2, 3.0, NAN)))
    assert found == Added(new=2, contradictory=1, duplicates=1)
    assert kept(tmp_path) == [("a", 1, 5.0, 5.0), ("a", 2, 3.0, 1.0)]


def test_a_late_row_is_taken_and_counted(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    add(store, told("a", (5, 1.0, 1.0)), told("b", (1, 1.0, 1.0)))
    assert add(store, told("a", (4, 1.0, 1.0), (6, 1.0, 1.0)), told("b", (2, 0.0, 0.0))) == Added(new=3, late=1)


@pytest.mark.parametrize("wrong", [10**15, -(10**15), 2**63 - 1, -(2**63)])
def test_one_bad_stamp_makes_no_other_row_late(tmp_path: Path, wrong: int) -> None:
    store = store_in(tmp_path)
    add(store, told("a", (1, 1.0, 1.0), (2, 1.0, 1.0)))
    assert add(store, told("a", (wrong, 1.0, 1.0))) == Added(new=1, jumps=1)
    for tick in (3, 4, 15, 16):
        assert add(store, told("a", (tick, 1.0, 1.0))) == Added(new=1, jumps=tick == 15)
    assert add(store, told("a", (5, 1.0, 1.0))) == Added(new=1, late=1)


def test_a_clock_that_jumped_for_a_whole_history_jumps_once(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    add(store, told("a", (1, 1.0, 1.0), (2, 1.0, 1.0)))
    assert add(store, told("a", *((tick, 1.0, 1.0) for tick in range(1000, 1005)))) == Added(new=5, jumps=1)
    assert add(store, told("a", (1005, 1.0, 1.0), (3, 1.0, 1.0))) == Added(new=2)


def test_columns_of_another_policy_are_added(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    add(store, told("a", (1, 2.0, 3.0)))
    add(store, told("a", (1, 9.0, 3.0), (2, 8.0, 4.0)), columns=("rain", "wind"))
    found = frame(tmp_path / rows.FILE).drop("sequence")
    assert found.columns == ["series", "tick", "load", "wind", "rain"]
    assert found.rows() == [("a", 1, 2.0, 3.0, 9.0), ("a", 2, None, 4.0, 8.0)]


def test_what_changed_since_a_number_is_told_and_numbers_only_grow(tmp_path: Path) -> None:
    store, file = store_in(tmp_path), tmp_path / rows.FILE
    add(store, told("a", (1, 1.0, 1.0), (2, 2.0, 2.0)))
    seen = reading.newest(file)
    add(store, told("a", (1, 9.0, 1.0), (2, 2.0, 2.0), (3, 3.0, 3.0)))
    assert kept(tmp_path, seen) == [("a", 1, 9.0, 1.0), ("a", 3, 3.0, 3.0)]
    assert (reading.count(file, seen), reading.newest(file)) == (2, 4)
    store.forget("a")
    store.close()
    store = store_in(tmp_path)
    add(store, told("b", (1, 1.0, 1.0)))
    assert reading.newest(file) == 5


def test_others_read_while_it_is_held_and_after(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    add(store, told("a", (1, 1.0, 1.0)))
    columns, chunks = reading.chunks(tmp_path / rows.FILE)
    first = next(chunks)
    add(store, told("a", (2, 1.0, 1.0)))
    assert (columns, first.series_T, first.tick_T.tolist()) == (list(COLUMNS), ["a"], [1])
    assert list(chunks) == []
    store.close()
    assert len(kept(tmp_path)) == 2
    assert sorted(file.name for file in tmp_path.iterdir()) == [rows.FILE]


def test_a_store_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert reading.count(tmp_path / rows.FILE) == reading.newest(tmp_path / rows.FILE) == 0
    with pytest.raises(InputError, match="there are no rows"):
        frame(tmp_path / rows.FILE)


def test_rows_are_deleted_when_their_time_has_come(tmp_path: Path) -> None:
    steady, clock = Clock(0.0), Clock()
    store = store_in(tmp_path, keep_days=2, clock=clock, steady=steady)
    for day in range(4):
        steady.now, clock.now = day * DAY, 1e9 + day * DAY
        # Telling more of a row makes it no younger.
        add(store, told("a", (day, 1.0, 1.0)))
        if day < 3:
            add(store, told("gone", (0, 1.0 + day, 1.0)))
    assert store.sweep() == 2
    assert kept(tmp_path) == [("a", 1, 1.0, 1.0), ("a", 2, 1.0, 1.0), ("a", 3, 1.0, 1.0)]
    assert b"gone" not in raw(tmp_path)


@pytest.mark.parametrize("jump", [-400 * DAY, 400 * DAY])
def test_a_clock_that_jumps_deletes_nothing_and_keeps_nothing_longer(tmp_path: Path, jump: float) -> None:
    steady, clock = Clock(0.0), Clock()
    store = store_in(tmp_path, keep_days=2, clock=clock, steady=steady)
    add(store, told("a", (1, 1.0, 1.0)))
    steady.now, clock.now = 1.5 * DAY, 1e9 + 1.5 * DAY + jump
    assert store.sweep(now=True) == 0
    add(store, told("a", (2, 1.0, 1.0)))
    steady.now, clock.now = 2.5 * DAY, 1e9 + 2.5 * DAY
    assert store.sweep(now=True) == 1
    assert [row[1] for row in kept(tmp_path)] == [2]


def test_time_that_passes_between_two_processes_counts_unless_the_clock_was_set_back(tmp_path: Path) -> None:
    store = store_in(tmp_path, keep_days=2, clock=Clock(1e9), steady=Clock(5.0))
    add(store, told("a", (1, 1.0, 1.0)))
    store.close()
    store = store_in(tmp_path, keep_days=2, clock=Clock(1e9 - 900 * DAY), steady=Clock(7.0))
    assert store.sweep(now=True) == 0
    store.close()
    steady = Clock(0.0)
    store = store_in(tmp_path, keep_days=2, clock=Clock(1e9 - 898.5 * DAY), steady=steady)
    assert store.sweep(now=True) == 0
    steady.now = DAY
    assert store.sweep(now=True) == 1


def test_the_oldest_make_room(tmp_path: Path) -> None:
    store = store_in(tmp_path, max_rows=3)
    add(store, told("a", *((tick, 1.0, 1.0) for tick in range(5))))
    add(store, told("a", (2, 2.0, 1.0)), told("b", (1, 1.0, 1.0)))
    assert [row[:2] for row in kept(tmp_path)] == [("a", 4), ("a", 2), ("b", 1)]
    assert store.summary()["kept"] == 3


@pytest.mark.parametrize("how", ["forget", "retention", "contradicted"])
def test_what_is_deleted_is_not_in_the_files_any_more(tmp_path: Path, how: str) -> None:
    random = np.random.default_rng(3)
    steady = Clock(0.0)
    store = store_in(tmp_path, keep_days=1, max_rows=100_000, clock=steady, steady=steady)
    names = [f"meter-{number:03}-{random.integers(10**9)}" for number in range(60)]
    secrets: list[bytes] = []
    for _ in range(12):
        for name in random.permutation(names):
            values_TF = random.normal(size=(4, 2))
            add(store, Told(str(name), random.integers(0, 10**6, 4), values_TF))
            if name in names[:20]:
                secrets += [struct.pack("<d", value) for value in values_TF.ravel()]
    content = raw(tmp_path)
    assert all(secret in content for secret in secrets)
    if how == "forget":
        for name in names[:20]:
            assert store.forget(name) == 48
    elif how == "retention":
        steady.now = 2 * DAY
        assert store.sweep() == 60 * 48
    else:
        everything = frame(tmp_path / rows.FILE)
        for name in names[:20]:
            ticks = everything.filter(series=name)["tick"].to_numpy()
            assert add(store, Told(name, ticks, random.normal(size=(48, 2)))).contradictory == 48
        store.sweep(now=True)
    content = raw(tmp_path)
    assert not [secret for secret in secrets if secret in content]
    assert how == "contradicted" or not [name for name in names[:20] if name.encode() in content]
    assert store.summary()["kept"] == {"forget": 40 * 48, "retention": 0, "contradicted": 60 * 48}[how]


def test_a_reader_delays_the_last_trace_no_longer_than_it_reads(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    add(store, told("secretive", (1, 1.0, 1.0)), told("b", (1, 1.0, 1.0)))
    _, chunks = reading.chunks(tmp_path / rows.FILE)
    next(chunks)
    store.forget("secretive")
    chunks.close()  # type: ignore[attr-defined]
    store.sweep(now=True)
    assert b"secretive" not in raw(tmp_path)


def test_a_full_disk_is_told_and_rows_are_kept_again_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = told("a", *((tick, 1.0, 1.0) for tick in range(2, 2000)))
    with monkeypatch.context() as small:
        small.setattr(rows, "TABLES", f"PRAGMA max_page_count=12; {rows.TABLES}")
        store = store_in(tmp_path)
        assert add(store, told("a", (1, 1.0, 1.0))) == Added(new=1)
        assert add(store, many) == Added(lost=1998)
        assert store.summary()["state"].startswith("rows are not kept: database or disk is full")
        assert add(store, told("a", (1, 1.0, 1.0))) == Added(duplicates=1)
        assert add(store, many) == Added(lost=1998)
    assert add(store, told("a", (2, 1.0, 1.0))) == Added(new=1)
    found = store.summary()
    assert (found["state"], found["kept"], found["from_requests"]["lost"]) == ("kept", 2, 2 * 1998)
    assert len(kept(tmp_path)) == 2


def test_a_file_that_is_no_store_is_told_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / rows.FILE).write_bytes(b"something else" * 1000)
    store = store_in(tmp_path)
    assert add(store, told("a", (1, 1.0, 1.0))) == Added(lost=1)
    assert "rows are not kept: file is not a database" in store.summary()["state"]
    store.close()
    assert (tmp_path / rows.FILE).read_bytes() == b"something else" * 1000


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    store_in(tmp_path / "new")
    assert (tmp_path / "new" / rows.FILE).stat().st_mode & 0o77 == 0
