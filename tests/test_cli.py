"""The command line: what it prints, and that what the user can mend ends with 2 and one message."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from lstm_ray import lifecycle
from lstm_ray.cli import EXPLAINED, job, main
from lstm_ray.config import Config
from lstm_ray.errors import InputError
from lstm_ray.lifecycle import STAGES
from lstm_ray.run_dir import Finding, Report, RunDir, StageDir
from tests import made
from tests.evaluate.comparing.finished import leave, noise

Cli = Callable[..., tuple[int, str, str]]


def noted(config: Config, run: RunDir, work: StageDir) -> Report:
    """Stands in for a stage and repeats what it was told."""
    name = work.path.name.partition("-")[0]
    if config.seed == 13:
        raise InputError(f"seed 13 is not for {name} [/of]; set seed: 14")
    if config.seed == 99:
        raise ZeroDivisionError
    words = f"{name} of [MW] with batch {config.train.batch} [/end]."
    return Report(stage=name, summary=words, findings=[Finding(severity="warning", text="Look at [MW].")])


@pytest.fixture(autouse=True)
def _fake_stages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stages = {name: replace(stage, function="tests.test_cli:noted", early="") for name, stage in STAGES.items()}
    monkeypatch.setattr(lifecycle, "STAGES", stages)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture
def yaml_file(table: Path, tmp_path: Path) -> Path:
    file = tmp_path / "made.yaml"
    file.write_text(yaml.safe_dump(made.config_tree(str(table))))
    return file


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs the command line in this process: exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return run


def test_run_says_what_each_stage_did_and_where_the_report_is(cli: Cli, yaml_file: Path, tmp_path: Path) -> None:
    code, out, err = cli("run", yaml_file)
    assert (code, err) == (0, "")
    for name in STAGES:
        assert f"→ {name}\n" in out
        assert f"{name} of [MW] with batch 8 [/end]." in out
        assert (tmp_path / "runs" / "made" / name / "report.json").exists()
    assert out.count("! Look at [MW].") == len(STAGES)
    page = tmp_path / "runs" / "made" / "report.html"
    assert f"report: {page}" in out
    assert page.exists()


def test_a_second_run_skips_every_stage_and_keeps_the_page(cli: Cli, yaml_file: Path, tmp_path: Path) -> None:
    cli("run", yaml_file)
    page = tmp_path / "runs" / "made" / "report.html"
    before = page.stat().st_mtime_ns
    code, out, _ = cli("run", yaml_file)
    assert code == 0
    assert out.count("unchanged, skipped") == len(STAGES)
    assert "→" not in out
    assert page.stat().st_mtime_ns == before
    page.unlink()
    cli("run", yaml_file)
    assert page.exists()


def test_a_stage_command_runs_what_it_needs_in_the_place_it_is_given(cli: Cli, yaml_file: Path, tmp_path: Path) -> None:
    options = ("--run-dir", tmp_path / "there", "--set", "train.batch=3", "--set", "seed=8", "--force")
    code, out, _ = cli("split", yaml_file, *options)
    assert code == 0
    assert "split of [MW] with batch 3" in out
    assert {path.name for path in (tmp_path / "there").iterdir() if path.is_dir()} == {
        *("environment", "preprocess", "split", ".work")
    }
    assert not (tmp_path / "runs").exists()


def test_an_address_is_handed_to_ray(cli: Cli, yaml_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setenv("RAY_ADDRESS", "nowhere")
    cli("explore", yaml_file, "--address", "127.0.0.1:6379")
    assert os.environ["RAY_ADDRESS"] == "127.0.0.1:6379"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "train.btach=3"], "train.btach: unknown key; did you mean 'batch'?"),
        (["--set", "train.batch"], "expected section.field=value"),
        (["--set", "window.patch=5"], "patch 5 does not divide history 12"),
        (["--set", "window.history=[1]"], "window.history: Input should be a valid integer, found [1]"),
        (["--set", "data.source=none.csv"], "'none.csv' names no file"),
        (["--set", "seed=13"], "seed 13 is not for environment [/of]; set seed: 14"),
        (["--run-dir", "made.yaml"], "made.yaml' is a file; name a directory"),
    ],
)
def test_a_mistake_ends_with_2_and_one_message(cli: Cli, yaml_file: Path, arguments: list[str], words: str) -> None:
    code, out, err = cli("run", yaml_file, *arguments)
    assert code == 2
    assert words in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "✓" not in out


@pytest.mark.parametrize(
    "arguments", [["--set", "train.btach=3"], ["--set", "data.source=none.csv"], ["--set", "window.patch=5"]]
)
def test_a_mistake_in_the_config_leaves_no_run_directory(cli: Cli, yaml_file: Path, arguments: list[str]) -> None:
    cli("run", yaml_file, *arguments)
    assert not Path("runs").exists()


@pytest.mark.parametrize("command", ["run", *EXPLAINED])
def test_a_config_that_is_not_there_is_named_by_every_command(cli: Cli, command: str) -> None:
    code, _, err = cli(command, "none.yaml")
    assert code == 2
    assert "cannot read the config 'none.yaml'" in err


def test_a_damaged_run_directory_is_named_and_force_mends_it(cli: Cli, yaml_file: Path) -> None:
    cli("split", yaml_file)
    Path("runs/made/split/report.json").write_text("{")
    code, _, err = cli("split", yaml_file)
    assert code == 2
    assert "split/report.json' is damaged" in err
    assert "run the stage 'split' again with --force" in err
    assert cli("split", yaml_file, "--force")[0] == 0
    assert cli("train", yaml_file)[0] == 0


def test_what_the_user_cannot_mend_is_no_input_error(yaml_file: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        main(["run", str(yaml_file), "--set", "seed=99"])


@pytest.mark.parametrize("arguments", [["paln", "x.yaml"], ["run"], ["run", "x.yaml", "--froce"], ["config", "show"]])
def test_a_misused_command_ends_with_2(cli: Cli, arguments: list[str]) -> None:
    code, _, err = cli(*arguments)
    assert code == 2
    assert "Usage" in err


def test_help_names_every_command(cli: Cli) -> None:
    code, out, _ = cli("--help")
    assert code == 0
    assert [name for name in ("run", "config", "serve", "forecast", *EXPLAINED) if f" {name} " not in out] == []


def test_the_schema_is_json_with_every_section(cli: Cli) -> None:
    code, out, _ = cli("config", "schema")
    assert code == 0
    schema = json.loads(out)
    assert set(schema["properties"]) == set(Config.model_fields)
    assert "default" in schema["$defs"]["TrainConfig"]["properties"]["batch"]


def test_check_reads_the_header_and_runs_nothing(cli: Cli, yaml_file: Path) -> None:
    code, out, err = cli("config", "check", yaml_file)
    assert (code, err) == (0, "")
    assert out == f"ok {yaml_file}: task forecast, 4 columns in the source\n"
    assert not Path("runs").exists()
    code, _, err = cli("config", "check", yaml_file, "--set", "data.past=[wnd]")
    assert code == 2
    assert "column 'wnd' is not in" in err
    assert "did you mean 'wind'" in err


def test_checking_tells_how_files_differ_and_where_one_lacks_a_column(cli: Cli, yaml_file: Path, table: Path) -> None:
    Path("parts").mkdir()
    Path("parts/0.csv").write_text(table.read_text())
    Path("parts/1.csv").write_text(table.read_text().replace("\n", ",\n").replace("wind,", "wind,extra", 1))
    code, out, err = cli("config", "check", yaml_file, "--set", "data.source=parts")
    assert (code, err) == (0, ""), err
    assert "columns in the source\n  · Columns that only some files hold" in out
    assert "'extra' in 1 of 2 files, such as " in out
    Path("parts/1.csv").write_text(table.read_text().replace("wind", "wnd", 1))
    code, _, err = cli("config", "check", yaml_file, "--set", "data.source=parts")
    assert code == 2
    assert "column 'wind' is not in" in err
    assert "parts/1.csv'; did you mean 'wnd'?" in err


def test_a_job_does_what_the_command_does(
    yaml_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["jobs/split.py", "--config", str(yaml_file), "--set", "train.batch=5"])
    with pytest.raises(SystemExit) as ended:
        job("split")
    assert not ended.value.code
    assert "split of [MW] with batch 5" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["jobs/lifecycle.py", "--config", str(yaml_file), "--run-dir", "all"])
    with pytest.raises(SystemExit):
        job(None)
    assert {name for name in STAGES if Path("all", name, "report.json").exists()} == set(STAGES)
    monkeypatch.setattr(sys, "argv", ["jobs/split.py", "--config", "none.yaml"])
    with pytest.raises(SystemExit) as ended:
        job("split")
    assert ended.value.code == 2


def test_the_console_script_ends_as_main_does(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("lstm-ray")
    command = [script] if script.exists() else [sys.executable, "-c", "from lstm_ray.cli import main; main()"]
    ended = subprocess.run([*command, "run", "none.yaml"], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert (
        ended.stderr
        == "error: cannot read the config 'none.yaml': No such file or directory; name an existing YAML file\n"
    )


def test_check_tells_what_a_source_that_names_itself_holds(cli: Cli, tmp_path: Path) -> None:
    Path("w.csv").write_text("id,1,2,3\na,1,2,3\nb,4,5,\n")
    Path("wide.yaml").write_text("name: w\ndata: {source: w.csv, layout: wide}\n")
    assert cli("config", "check", "wide.yaml") == (0, "ok wide.yaml: task forecast, 3 columns in the source\n", "")
    head = "@univariate true\n@classLabel true a b\n@data\n"
    for part in ("TRAIN", "TEST"):
        Path(f"{part}.ts").write_text(head + "1,2:a\n2,3:b\n")
    Path("ts.yaml").write_text("name: t\ntask: classify\ndata: {source: [TRAIN.ts, TEST.ts]}\n")
    assert cli("config", "check", "ts.yaml") == (0, "ok ts.yaml: task classify, 4 columns in the source\n", "")
    code, _, err = cli("config", "check", "ts.yaml", "--set", "data.past=[dim_7]")
    assert code == 2
    assert "column 'dim_7' is not in" in err


def test_a_table_without_a_config_gets_one(cli: Cli, table: Path, tmp_path: Path) -> None:
    code, out, err = cli("explore", table, "--suggest")
    assert code == 0
    assert yaml.safe_load(out)["data"]["series_id"] == ["site"]
    assert "? window.horizon is" in err
    code, out, err = cli("explore", table, "--suggest", "--out", "made_up.yaml")
    assert (code, out) == (0, "")
    assert "made_up.yaml; look at it, then: lstm-ray explore made_up.yaml" in err
    assert cli("config", "check", "made_up.yaml")[0] == 0
    code, _, err = cli("explore", table, "--suggest", "--out", "made_up.yaml")
    assert code == 2
    assert "'made_up.yaml' exists; name another file with --out, or add --force" in err
    assert cli("explore", table, "--suggest", "--out", "made_up.yaml", "--force")[0] == 0
    assert "names no file" in cli("explore", "none.csv", "--suggest")[2]
    assert "is a config; --suggest reads a table" in cli("explore", "made_up.yaml", "--suggest")[2]
    assert "--out x.yaml is for --suggest" in cli("explore", "made_up.yaml", "--out", "x.yaml")[2]


def test_runs_are_compared_in_a_table_and_on_a_page(cli: Cli, tmp_path: Path) -> None:
    runs = [leave(tmp_path / "good", 0.8 * noise()), leave(tmp_path / "bad", noise())]
    code, out, _ = cli("compare", *runs, "--out", tmp_path / "page.html", "--no-baselines")
    assert code == 0
    assert "than good" in out
    assert "good has the least mean absolute error" in out
    assert "last value" not in out
    assert (tmp_path / "page.html").exists()
    assert json.loads((tmp_path / "page.json").read_text())["errors"].keys() == {"good", "bad"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compare", "one"], "at least two"),
        (["compare", "one", "two"], "holds no evaluated run"),
        (["evaluate", "made.yaml", "--data", "table.csv"], "'made.yaml' is a config"),
        (["evaluate", "made.yaml", "--out", "there"], "--out there is for --data"),
        (["evaluate", "run", "--data", "table.csv", "--set", "evaluate.batch=1"], "leave --set and --run-dir out"),
        (["evaluate", "run", "--data", "table.csv"], "holds no evaluated policy"),
        (["evaluate", "."], "judge the run on new files with --data"),
    ],
)
def test_what_cannot_be_compared_or_judged_is_said_in_one_message(cli: Cli, arguments: list[str], words: str) -> None:
    code, _, err = cli(*arguments)
    assert code == 2
    assert words in err.replace("\n", " ")
