"""Each check of a machine finds the fault that is planted, and says how to mend it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lstm_ray.doctor import judging, machine
from lstm_ray.doctor.checks import Check, exit_code, summary, well
from lstm_ray.doctor.machine import Disk, Machine

GB = 10**9
HERE = Machine(
    name="one",
    python="3.11.7",
    executable="/env/bin/python",
    package="/env/lstm_ray",
    versions={"lstm-ray": "0.1.0", "ray": "2.60.0", "torch": "2.13.0+cpu", "numpy": "2.4.0", "polars": "2.0"},
    cpus=8,
    allowed_cpus=8.0,
    memory_bytes=32 * GB,
    allowed_memory_bytes=32 * GB,
    swap_bytes=0,
    shared_memory=Disk("/dev/shm", 16 * GB, 16 * GB),
    temporary=Disk("/tmp", 80 * GB, 100 * GB),
    open_files=65_536,
)


def test_a_machine_without_a_fault_is_well() -> None:
    found = judging.judged(HERE, "10.0.0.2")
    assert {check.verdict for check in found} == {"well"}
    assert {check.where for check in found} == {"10.0.0.2"}
    assert len({check.name for check in found}) == len(found) == 6


@pytest.mark.parametrize(
    ("name", "verdict", "fault", "fix"),
    [
        ("packages", "wrong", {"versions": HERE.versions | {"torch": "2.12.1"}}, "pip install 'torch==2.13.*'"),
        ("packages", "wrong", {"versions": {"torch": "2.13.0"}}, "lstm-ray[train]"),
        ("packages", "warning", {"versions": {"torch": "2.13.0", "ray": "2.60.0"}}, "lstm-ray[train]"),
        ("disk of temporary files", "wrong", {"temporary": Disk("/tmp", GB // 2, 100 * GB)}, "larger disk"),
        ("disk of temporary files", "warning", {"temporary": Disk("/tmp", 4 * GB, 100 * GB)}, "larger disk"),
        ("memory", "warning", {"allowed_memory_bytes": GB}, "2 GB or more"),
        ("CPUs", "warning", {"allowed_cpus": 2.5}, "--num-cpus=2"),
        ("open files", "wrong", {"open_files": 256}, "ulimit -n"),
        ("open files", "warning", {"open_files": 1024}, "ulimit -n"),
        ("shared memory", "warning", {"shared_memory": Disk("/dev/shm", 64 * 10**6, 64 * 10**6)}, "shm-size"),
    ],
)
def test_a_planted_fault_is_found_and_no_other(name: str, verdict: str, fault: dict, fix: str) -> None:
    found = {check.name: check for check in judging.judged(replace(HERE, **fault))}
    assert found[name].verdict == verdict
    assert fix in found[name].advice
    assert {check.verdict for check in found.values() if check.name not in (name, "shared memory")} == {"well"}


def test_a_node_with_another_version_is_named_with_what_to_install() -> None:
    other = replace(HERE, python="3.12.1", versions=HERE.versions | {"ray": "2.59.0"})
    missing = replace(HERE, versions={name: found for name, found in HERE.versions.items() if name != "polars"})
    first, second = judging.same_versions(HERE, {"10.0.0.2": HERE, "10.0.0.3": other, "10.0.0.4": missing})
    assert (first.verdict, first.where) == ("wrong", "10.0.0.3")
    assert first.text == "Python 3.12.1 where this machine has 3.11.7, ray 2.59.0 where this machine has 2.60.0"
    assert "ray==2.60.0" in first.advice
    assert (second.where, second.text) == ("10.0.0.4", "no polars")
    assert judging.same_versions(HERE, {"10.0.0.2": HERE})[0].verdict == "well"


@pytest.mark.parametrize(
    ("before", "there", "after", "skew", "verdict"),
    [
        (100.0, 100.5, 101.0, 0.0, "well"),
        (100.0, 90.0, 101.0, -10.0, "warning"),
        (100.0, 141.0, 101.0, 40.0, "warning"),
        (100.0, 1000.0, 101.0, 899.0, "wrong"),
    ],
)
def test_a_clock_is_judged_by_what_it_is_surely_off(
    before: float, there: float, after: float, skew: float, verdict: str
) -> None:
    found = judging.skew_seconds(before, there, after)
    assert found == skew
    assert judging.clock(found, "a node").verdict == verdict
    assert ("behind" in judging.clock(found, "a node").text) == (skew < 0)


def test_another_environment_than_the_active_one_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path))
    assert judging.environment().verdict == "warning"
    assert str(tmp_path) in judging.environment().advice
    monkeypatch.delenv("VIRTUAL_ENV")
    assert judging.environment().verdict == "well"


def test_limits_of_a_control_group_are_read(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text("1000000\n")
    assert machine._allowed_cpus(tmp_path) == 0.5
    assert machine._allowed_memory(tmp_path) == 1_000_000
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert machine._allowed_cpus(tmp_path) >= 1
    assert machine._allowed_memory(tmp_path) == machine.UNLIMITED


def test_the_disk_of_a_folder_that_is_not_there_yet_is_the_one_it_will_be_on(tmp_path: Path) -> None:
    assert machine.disk(tmp_path / "a/b").total_bytes == machine.disk(tmp_path).total_bytes


def test_this_machine_tells_what_it_is() -> None:
    found = machine.this_machine()
    assert found.versions["ray"]
    assert found.allowed_memory_bytes <= found.memory_bytes
    assert 0 < found.allowed_cpus <= found.cpus


def test_only_what_is_wrong_fails() -> None:
    warned = Check("a", "warning", "odd", "mend it", "10.0.0.2")
    assert exit_code([well("b", "good"), warned]) == 0
    assert exit_code([warned, Check("c", "wrong", "bad")]) == 1
    assert warned.line == "a on 10.0.0.2: odd; mend it"
    assert summary([warned, well("b", "good")]) == "1 well, 1 to look at, 0 wrong"
