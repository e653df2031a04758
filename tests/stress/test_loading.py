"""The generator's account, and what is told where it cannot run."""

from __future__ import annotations

import os
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from lstm_ray.errors import InputError
from lstm_ray.stress import loading
from lstm_ray.stress.loading import Clients, LoadFailedError, Phase, load, read
from lstm_ray.stress.processes import Samples, look, sampled

# Not imported: it would alter sockets and threads of this process.
HAS_LOCUST = pytest.mark.skipif(find_spec("locust") is None, reason="locust is not installed")
CLIENTS = Clients("http://127.0.0.1:9/v1/forecast", "", ["{}"], [], {"valid": 1.0, "slow": 0.0, "hostile": 0.0})


def test_an_account_is_read_and_a_line_that_was_cut_off_left_out() -> None:
    lines = ["1.0\tphase\t0", "1.5\tcpu\t0.25", "1.6\tvalid\t0\t200\t12.5\t0", "2.0\tphase\t1"]
    lines += ["2.1\thostile\t3\t422\t1.5\t0", "2.2\tvalid\t0\t503\t0.5\t1", "2.5\tcpu\t0.75", "2.6\tvalid\t0"]
    found = read(lines)
    assert found.starts == [1.0, 2.0, 2.5]
    assert found.share(1.5, 2.5) == pytest.approx(0.5)
    assert found.share(5.0, 6.0) is None
    assert found.requests.ms_M.tolist() == [12.5, 1.5, 0.5]
    assert found.requests.of("hostile").case_M.tolist() == [3]
    valid = found.requests.of("valid")
    assert (len(valid.answered), len(valid.failed), valid.away_M.tolist()) == (1, 0, [False, True])
    assert len(read([]).requests) == 0


def test_without_locust_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'lstm-ray\[stress\]'"):
        load(CLIENTS, [Phase(1, 1.0)], tmp_path)


@HAS_LOCUST
def test_an_address_that_is_no_plain_http_is_refused(tmp_path: Path) -> None:
    clients = Clients("https://here/v1/forecast", "", ["{}"], [], CLIENTS.shares)
    with pytest.raises(InputError, match="http://"):
        load(clients, [Phase(1, 1.0)], tmp_path)


@HAS_LOCUST
def test_a_generator_that_breaks_is_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "users.py"
    broken.write_text("raise SystemExit('no clients today')\n")
    monkeypatch.setattr(loading, "USERS", broken)
    (tmp_path / "work").mkdir()
    with pytest.raises(LoadFailedError, match="no clients today"):
        load(CLIENTS, [Phase(1, 1.0)], tmp_path / "work")


def test_processes_are_seen_with_their_memory_files_and_time() -> None:
    found = Samples()
    look(found, {"this": [os.getpid()], "gone": [2**22 + 1]})
    [one] = found.seen
    assert one.role == "this"
    assert one.memory > 10_000_000
    assert one.files >= 3
    assert one.cpu_seconds > 0
    assert len(found.machine) == 1


def test_a_soak_that_nobody_could_watch_does_not_pass() -> None:
    def roles() -> dict[str, list[int]]:
        raise RuntimeError("nobody there")

    with pytest.raises(RuntimeError, match="nobody there"), sampled(roles):
        time.sleep(0.8)


@HAS_LOCUST
def test_a_load_that_was_passed_over_is_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ran(folder: Path, *_: object) -> None:
        (folder / "requests.tsv").write_text("1.0\tphase\t0\n1.5\tcpu\t0.25\n")

    monkeypatch.setattr(loading, "_run", ran)
    with pytest.raises(LoadFailedError, match="of 2 loads one after another 1 began"):
        load(CLIENTS, [Phase(1, 0.1), Phase(2, 0.1)], tmp_path)
    assert load(CLIENTS, [Phase(1, 0.1)], tmp_path).starts == [1.0, 1.5]
