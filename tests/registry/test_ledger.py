"""The ledger: chained, whole or not at all, ordered by number, and every way of altering it found."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from lstm_ray.errors import InputError
from lstm_ray.registry import ledger
from lstm_ray.registry.ledger import ALTERED, FIRST, HEAD, HEALED, LEDGER, TORN, Ledger


def filled(folder: Path, number: int = 4) -> Ledger:
    found = Ledger(folder)
    for one in range(number):
        found.append("promoted", {"policy": f"v{one}", "ratio": 1.25})
    return found


def test_entries_are_read_as_they_were_appended_and_hang_together(tmp_path: Path) -> None:
    found = Ledger(tmp_path / "registry")
    assert (found.read(), found.verify()) == ([], (0, FIRST))
    first = found.append("served", {"policy": "a", "name": "Ä"})
    second = found.append("promoted", {"from": "a", "to": "b"}, who="night shift")
    assert Ledger(tmp_path / "registry").read() == [first, second]
    assert [entry.sequence for entry in found.read()] == [1, 2]
    assert "@" in first.who
    assert second.who == "night shift"
    assert found.verify()[0] == 2
    assert set(json.loads((tmp_path / "registry" / LEDGER).read_text().splitlines()[0])) == {
        *("sequence", "time", "who", "event", "evidence", "previous")
    }
    with pytest.raises(ValueError, match="JSON compliant"):
        found.append("judged", {"error": float("nan")})
    assert found.verify()[0] == 2


def _append(folder: str, number: int) -> None:
    for one in range(number):
        Ledger(Path(folder)).append("judged", {"one": one})


def test_processes_that_append_at_once_leave_one_chain(tmp_path: Path) -> None:
    started = [multiprocessing.get_context("fork").Process(target=_append, args=(str(tmp_path), 20)) for _ in range(3)]
    for process in started:
        process.start()
    for process in started:
        process.join(30)
    assert [entry.sequence for entry in Ledger(tmp_path).read()] == list(range(1, 61))
    assert Ledger(tmp_path).verify()[0] == 60


def test_whatever_is_altered_is_found_with_its_line(tmp_path: Path) -> None:
    filled(tmp_path)
    file = tmp_path / LEDGER
    whole = file.read_text().splitlines(keepends=True)
    told = {
        "at line 2 or at line 1": [whole[0].replace("1.25", "1.52"), *whole[1:]],
        "at line 3 or at line 2": [*whole[:1], whole[1].replace("1.25", "1.52"), *whole[2:]],
        "altered at line 4": [*whole[:3], whole[3].replace("1.25", "1.52")],
        "altered at line 2": [whole[0], *whole[2:]],
        "altered at line 1": whole[1:],
        "altered at line 5": [*whole, whole[3]],
        "cut after line 2: there were 4": whole[:2],
        "altered at line 3: it is no entry": [*whole[:2], "{}\n", whole[3]],
    }
    for words, lines in told.items():
        file.write_text("".join(lines))
        with pytest.raises(InputError, match=words):
            Ledger(tmp_path).verify()
    file.write_text("".join(whole))
    assert Ledger(tmp_path).verify()[0] == 4
    (tmp_path / HEAD).unlink()
    with pytest.raises(InputError, match="is gone"):
        Ledger(tmp_path).verify()


@pytest.mark.parametrize("cut", [True, False], ids=["cut", "edited"])
def test_an_end_that_was_altered_is_not_covered_by_the_next_line(tmp_path: Path, cut: bool) -> None:
    found = filled(tmp_path)
    file, last = tmp_path / LEDGER, found.verify()[1]
    *whole, end = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*whole, *([] if cut else [end.replace("1.25", "1.52")])]))
    found.append("promoted", {"policy": "later"})
    found.append("promoted", {"policy": "and later"})
    told = [(entry.event, entry.evidence) for entry in found.read()][-3]
    assert told == (ALTERED, {"lines": 4, "sha256": last})
    with pytest.raises(InputError, match=f"altered before line {4 if cut else 5} was written, .* there were 4 lines"):
        found.verify()


@pytest.mark.parametrize("kept", [1, 30, -1])
def test_a_line_that_a_kill_left_unfinished_is_no_entry_and_is_moved_aside(tmp_path: Path, kept: int) -> None:
    found = filled(tmp_path, 3)
    file = tmp_path / LEDGER
    whole = file.read_bytes()
    torn = whole.splitlines(keepends=True)[2][:kept]
    (tmp_path / HEAD).unlink()
    found = filled(tmp_path / "two", 2)
    file = tmp_path / "two" / LEDGER
    file.write_bytes(file.read_bytes() + torn)
    assert len(found.read()) == 2, "what is not whole is not trusted"
    assert found.verify()[0] == 2
    entry = found.append("promoted", {"policy": "later"})
    assert [e.event for e in found.read()] == ["promoted", "promoted", HEALED, "promoted"]
    assert (entry.sequence, found.read()[2].evidence) == (4, {"bytes": len(torn), "moved_to": TORN})
    assert (tmp_path / "two" / TORN).read_bytes() == torn + b"\n"
    assert found.verify()[0] == 4


def test_a_full_disk_leaves_the_ledger_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = filled(tmp_path, 2)
    before = (tmp_path / LEDGER).read_bytes()
    write, given = os.pwrite, []

    def full(file: int, content: bytes, at: int) -> int:
        given.append(at)
        if len(given) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, content[:7], at)

    with monkeypatch.context() as patched:
        patched.setattr(ledger.os, "pwrite", full)
        with pytest.raises(InputError, match="could not take 'promoted': No space left on device; make room"):
            found.append("promoted", {})
    assert (tmp_path / LEDGER).read_bytes() == before
    found.append("promoted", {})
    assert found.verify()[0] == 3


def test_order_is_that_of_the_numbers_whatever_the_clock_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Ledger(tmp_path)
    for year in (2030, 1980, 2025):

        class Clock(datetime):
            @classmethod
            def now(cls, tz: Any = None, year: int = year) -> datetime:  # type: ignore[override]
                return datetime(year, 1, 1, tzinfo=tz)

        monkeypatch.setattr(ledger, "datetime", Clock)
        found.append("judged", {"year": year})
    assert [(e.sequence, e.evidence["year"]) for e in found.read()] == [(1, 2030), (2, 1980), (3, 2025)]
    assert found.verify()[0] == 3


def test_long_lines_are_chained_as_short_ones_are(tmp_path: Path) -> None:
    found = Ledger(tmp_path)
    for number in range(3):
        found.append("judged", {"slices": ["x" * 50] * 4_000, "number": number})
    assert found.verify()[0] == 3
