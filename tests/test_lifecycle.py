"""Which stages run, which are skipped, and what a stage's result is taken to depend on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lstm_ray import lifecycle
from lstm_ray.config import Config, with_values
from lstm_ray.data.source import files
from lstm_ray.errors import InputError
from lstm_ray.lifecycle import STAGES, run_stages
from lstm_ray.run_dir import Report, RunDir, StageDir

RAN: list[str] = []
"""Stages that ran since ``ran`` was last asked."""
FAILS: set[str] = set()


def fake(config: Config, run: RunDir, work: StageDir) -> Report:
    """Stands in for every stage: notes that it ran, and leaves a file."""
    name = work.path.name.partition("-")[0]
    RAN.append(name)
    attempts = work.path / "attempts"
    attempts.write_text((attempts.read_text() if attempts.exists() else "") + "x")
    if name in FAILS:
        raise InputError(f"{name} cannot")
    return Report(stage=name, summary=f"{name} ran.")


def again(config: Config, run: RunDir, work: StageDir) -> Report:
    """A stage that starts a run in its own run directory."""
    run_stages(config, RunDir(run.uri), ["train"])
    raise AssertionError("two runs at a time")


def sleeping(config: Config, run: RunDir, work: StageDir) -> Report:
    import time

    print("asleep", flush=True)
    time.sleep(60)
    raise AssertionError("nobody killed it")


@pytest.fixture(autouse=True)
def _fake_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every stage keeps its place and its dependencies, and does nothing."""
    stages = {name: replace(stage, function="tests.test_lifecycle:fake", early="") for name, stage in STAGES.items()}
    monkeypatch.setattr(lifecycle, "STAGES", stages)
    RAN.clear()
    FAILS.clear()


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "run")


def ran(config: Config, run: RunDir, *names: str, force: bool = False) -> list[str]:
    RAN.clear()
    run_stages(config, run, list(names or STAGES), force=force)
    return list(RAN)


def test_every_stage_runs_in_order_and_then_none(config: Config, run: RunDir) -> None:
    assert ran(config, run) == list(STAGES)
    assert ran(config, run) == []
    seen: list[tuple[str, str]] = []
    reports = run_stages(
        config,
        run,
        list(STAGES),
        on_start=lambda name: seen.append((name, "start")),
        on_end=lambda name, report, skipped: seen.append((name, "skipped" if skipped else report.summary)),
    )
    assert seen == [(name, "skipped") for name in STAGES]
    assert {name: report.summary for name, report in reports.items()} == {name: f"{name} ran." for name in STAGES}


def test_listeners_hear_of_each_stage_that_runs(config: Config, run: RunDir) -> None:
    seen: list[str] = []
    run_stages(
        config,
        run,
        ["explore"],
        on_start=lambda name: seen.append(f"{name} starts"),
        on_end=lambda name, report, skipped: seen.append(f"{name} {skipped} {report.stage}"),
    )
    expected = [f"{name} {word}" for name in ("environment", "explore") for word in ("starts", f"False {name}")]
    assert seen == expected


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("explore", ["environment"]),
        ("preprocess", ["environment"]),
        ("split", ["environment", "preprocess"]),
        ("train", ["environment", "preprocess", "split"]),
        ("plan", ["environment", "preprocess", "split", "train"]),
        ("tune", ["environment", "preprocess", "split", "train"]),
        ("evaluate", ["environment", "preprocess", "split", "train"]),
        ("deploy", ["environment", "preprocess", "split", "train", "evaluate"]),
    ],
)
def test_a_stage_runs_what_it_needs_first(config: Config, run: RunDir, name: str, needs: list[str]) -> None:
    assert ran(config, run, name) == [*needs, name]
    assert ran(config, run, name) == []


AFTER = {
    "train": ["train", "plan", "tune", "evaluate", "deploy"],
    "split": ["split", "train", "plan", "tune", "evaluate", "deploy"],
    "preprocess": ["preprocess", "split", "train", "plan", "tune", "evaluate", "deploy"],
}


@pytest.mark.parametrize(
    ("path", "value", "stale"),
    [
        ("explore.max_rows", 5, ["explore"]),
        ("preprocess.impute", "median", AFTER["preprocess"]),
        ("split.train", 0.6, ["explore", *AFTER["preprocess"]]),
        ("window.horizon", 5, ["explore", *AFTER["split"]]),
        ("model.hidden", 9, AFTER["train"]),
        ("train.batch", 9, AFTER["train"]),
        ("plan.paths", 9, ["plan", "evaluate", "deploy"]),
        ("plan.actors", 9, []),
        ("tune.trials", 9, ["tune", "evaluate", "deploy"]),
        ("evaluate.batch", 9, ["evaluate", "deploy"]),
        ("evaluate.workers", 9, []),
        ("evaluate.backtest", {"folds": 2}, ["evaluate", "deploy"]),
        ("deploy.port", 9, ["deploy"]),
        ("data.past", [], ["explore", *AFTER["preprocess"]]),
    ],
)
def test_a_changed_field_makes_its_stages_stale_and_no_others(
    config: Config, run: RunDir, path: str, value: object, stale: list[str]
) -> None:
    ran(config, run)
    changed = with_values(config, {path: value})
    assert ran(changed, run) == ["environment", *stale]
    assert ran(changed, run) == []


def test_the_seed_makes_what_draws_stale(config: Config, run: RunDir) -> None:
    ran(config, run)
    assert ran(config.model_copy(update={"seed": 8}), run) == ["environment", "explore", *AFTER["train"]]


def test_a_history_that_unseen_series_are_scaled_by_makes_their_preparation_stale(config: Config, run: RunDir) -> None:
    own = with_values(config, {"preprocess.scale_by": "series"})
    for before, stale in ((config, AFTER["split"]), (own, AFTER["preprocess"])):
        ran(before, run)
        longer = with_values(before, {"window.history": 2 * config.window.history})
        assert ran(longer, run) == ["environment", "explore", *stale]


def test_the_name_of_a_run_makes_nothing_stale(config: Config, run: RunDir) -> None:
    ran(config, run)
    assert ran(config.model_copy(update={"name": "other"}), run) == ["environment"]


def test_changed_data_make_every_stage_stale(config: Config, run: RunDir, table: Path) -> None:
    ran(config, run)
    os.utime(table, ns=(1, 1))
    assert ran(config, run) == list(STAGES)
    table.write_text(table.read_text() + "a,2024-03-20T00:00:00Z,1,1\n")
    assert ran(config, run) == list(STAGES)


def test_another_version_of_the_package_makes_every_stage_stale(
    config: Config, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran(config, run)
    monkeypatch.setattr(lifecycle, "__version__", "99")
    assert ran(config, run) == list(STAGES)


def test_a_stage_that_others_use_makes_them_stale_when_it_first_runs(config: Config, run: RunDir) -> None:
    ran(config, run, "deploy")
    assert ran(config, run, "tune") == ["tune"]
    assert ran(config, run, "deploy") == ["evaluate", "deploy"]
    assert ran(config, run, "deploy") == []


def test_force_runs_the_named_stages_alone(config: Config, run: RunDir) -> None:
    ran(config, run)
    assert ran(config, run, "train", force=True) == ["train"]
    assert ran(config, run) == []
    assert ran(config, run, force=True) == list(STAGES)


def test_a_stage_that_fails_keeps_its_old_result_and_its_work(config: Config, run: RunDir) -> None:
    ran(config, run, "train")
    FAILS.add("train")
    changed = with_values(config, {"train.batch": 9})
    for _ in range(2):
        with pytest.raises(InputError, match="train cannot"):
            run_stages(changed, run, ["train"])
    assert run.read_bytes("train/attempts") == b"x"
    FAILS.clear()
    assert ran(changed, run, "train") == ["train"]
    assert run.read_bytes("train/attempts") == b"xxx", "the third attempt goes on from the first two"


def test_a_stage_that_was_deleted_runs_again(config: Config, run: RunDir, tmp_path: Path) -> None:
    ran(config, run)
    (tmp_path / "run" / "split" / "report.json").unlink()
    assert ran(config, run) == ["split"]


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"a": "\xff"}'])
def test_a_damaged_report_is_refused_and_force_mends_it(
    config: Config, run: RunDir, tmp_path: Path, content: bytes
) -> None:
    ran(config, run, "train")
    (tmp_path / "run" / "split" / "report.json").write_bytes(content)
    with pytest.raises(InputError, match=r"split/report.json' is damaged .* run the stage 'split' again with --force"):
        run_stages(config, run, ["train"])
    assert ran(config, run, "split", force=True) == ["split"]
    assert ran(config, run, "train") == []


def test_time_and_fingerprint_are_in_the_report(config: Config, run: RunDir) -> None:
    ran(config, run, "explore")
    report = run.report("explore")
    assert report is not None
    assert len(report.fingerprint) == 64
    assert 0 <= report.wall_seconds < 10


def test_a_config_whose_data_are_missing_makes_no_run_directory(config: Config, run: RunDir, table: Path) -> None:
    table.unlink()
    with pytest.raises(InputError, match="names no file"):
        run_stages(config, run, ["explore"])
    assert run.local is not None
    assert not run.local.exists()


def test_a_second_run_in_the_same_directory_is_refused(
    config: Config, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(lifecycle.STAGES, "explore", replace(STAGES["explore"], function="tests.test_lifecycle:again"))
    with pytest.raises(InputError, match=r"another process is running in .* use --run-dir"):
        run_stages(config, run, ["explore"])


def test_the_lock_dies_with_its_process(config: Config, run: RunDir, table: Path) -> None:
    code = (
        "from dataclasses import replace\nfrom lstm_ray import lifecycle\nfrom lstm_ray.run_dir import RunDir\n"
        "from tests import made\n"
        "lifecycle.STAGES = {n: replace(s, function='tests.test_lifecycle:sleeping') for n, s in lifecycle.STAGES.items()}\n"
        f"lifecycle.run_stages(made.make_config({str(table)!r}), RunDir({run.uri!r}), ['explore'])"
    )
    root = Path(__file__).parents[1]
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=root, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "asleep\n"
        with pytest.raises(InputError, match="another process is running"):
            run_stages(config, run, ["explore"])
        other.send_signal(signal.SIGKILL)
    assert ran(config, run, "explore") == ["environment", "explore"]


def test_a_run_on_another_filesystem_is_skipped_just_so(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run = RunDir("mock:///there/run")
    assert ran(config, run) == list(STAGES)
    assert ran(config, run) == []


def test_skipping_reads_no_data(config: Config, run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    ran(config, run)
    for reader in ("read", "header"):
        monkeypatch.setattr(files, reader, lambda data: pytest.fail("the data were opened"))
    assert ran(config, run) == []


def test_an_objective_of_ones_own_is_tried_before_any_stage_runs(
    config: Config, run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import numpy as np\ndef nan(f, a, k): return np.full(len(f), np.nan)\ndef good(f, a, k): return f[:, :, 0].sum(1)\n"
    (tmp_path / "tried_costs.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)

    def deciding(function: str) -> Config:
        objective = [{"kind": "own", "function": f"tried_costs:{function}"}]
        decision = {"actions": [{"name": "order", "low": 0, "high": 9}], "objective": objective}
        return with_values(config, {"plan.decision": decision})

    with pytest.raises(InputError, match=r"term 'own of tried_costs:nan' is nan on made-up futures"):
        run_stages(deciding("nan"), run, ["plan"])
    assert RAN == []
    run_stages(deciding("good"), run, ["plan"])
    assert "plan" in RAN


def refuses(config: Config, run: RunDir) -> None:
    RAN.append("asked")
    raise InputError("there is no such series")


def test_what_cannot_be_planned_is_refused_before_training(
    config: Config, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = replace(lifecycle.STAGES["plan"], early="tests.test_lifecycle:refuses")
    monkeypatch.setitem(lifecycle.STAGES, "plan", asking)
    run_stages(config, run, ["train"])
    assert "asked" not in RAN
    RAN.clear()
    with pytest.raises(InputError, match="no such series"):
        run_stages(with_values(config, {"train.batch": 3}), run, ["plan"])
    assert RAN == ["environment", "asked"]


def test_a_form_to_export_to_that_cannot_be_had_is_told_before_training(
    config: Config, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "find_spec", lambda name: None if name == "onnxscript" else name)
    run_stages(with_values(config, {"deploy.export": ["onnx"]}), run, ["train"])
    asks = with_values(config, {"deploy.export": ["onnx"], "train.batch": 3})
    RAN.clear()
    with pytest.raises(InputError, match=r"'onnxscript', which is not installed; pip install 'lstm-ray\[onnx\]'"):
        run_stages(asks, run, ["deploy"])
    assert RAN == ["environment"]
    run_stages(with_values(asks, {"deploy.export": ["torch"]}), run, ["deploy"])


def test_another_licence_is_bundled_without_training_again(config: Config, run: RunDir) -> None:
    run_stages(config, run, ["explore", "deploy"])
    RAN.clear()
    run_stages(with_values(config, {"data.licence": "CC0-1.0"}), run, ["explore", "deploy"])
    assert RAN == ["environment", "deploy"]


def test_another_decision_makes_what_carries_the_planner_stale(config: Config, run: RunDir) -> None:
    run_stages(config, run, ["deploy"])
    RAN.clear()
    decision = {
        "actions": [{"name": "order", "low": 0, "high": 9}],
        "objective": [{"kind": "cost", "column": "order", "price": 1}],
    }
    run_stages(with_values(config, {"plan.decision": decision}), run, ["deploy"])
    assert RAN == ["environment", "deploy"]
