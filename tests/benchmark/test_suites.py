"""The command line of the suites: what the user can mend ends with 2 and one message."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lstm_ray.benchmark import training
from lstm_ray.benchmark.options import Options, parse_sources
from lstm_ray.benchmark.results import Figure, Results
from lstm_ray.cli import main
from lstm_ray.errors import InputError


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["benchmark", *arguments])
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_an_unknown_suite_is_told_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert "'speed'; those that exist: accuracy, training" in refused(capsys, "--suite", "speed")


def test_a_data_folder_that_is_none_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "no directory" in refused(capsys, "--suite", "training", "--data", str(tmp_path / "none"))


def test_a_missing_file_is_named_before_anything_is_trained(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "ETTh1.csv").write_text("date,OT\n")
    message = refused(capsys, "--suite", "accuracy", "--only", "m4_hourly", "--data", str(tmp_path))
    assert str(tmp_path / "M4-Hourly-train.csv") in message


def test_a_set_that_needs_a_folder_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, "--suite", "accuracy", "--only", "etth1_96")
    assert "reads ETTh1.csv" in message
    assert "--data DIR" in message


def test_an_unknown_config_gets_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean 'gunpoint'" in refused(capsys, "--suite", "accuracy", "--only", "gunpint")


def test_figures_that_fall_short_end_with_0_and_say_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "training", lambda options: Results([Figure("speed", 1.0, "times", 40.0)]))
    with pytest.raises(SystemExit) as ended:
        main(["benchmark", "--suite", "training", "--quick"])
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["figures"][0]["holds"] is False


def test_sources_are_names_and_files() -> None:
    assert parse_sources(["m4_hourly=a.csv,b.csv", "etth1_96=c.csv"]) == {
        "m4_hourly": ["a.csv", "b.csv"],
        "etth1_96": ["c.csv"],
    }


@pytest.mark.parametrize("text", ["etth1_96", "=a.csv", "etth1_96=", "etth1_96=a.csv,"])
def test_a_source_written_otherwise_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected NAME=FILE"):
        parse_sources([text])


def test_a_source_given_twice_is_refused() -> None:
    with pytest.raises(InputError, match="twice"):
        parse_sources(["etth1_96=a.csv", "etth1_96=b.csv"])


def test_the_users_own_files_come_before_those_of_the_folder(tmp_path: Path) -> None:
    own = tmp_path / "ETTh2.csv"
    own.write_text("")
    options = Options(data=tmp_path / "elsewhere", source={"etth1_96": [str(own)]})
    assert options.source_of("etth1_96", ["ETTh1.csv"]) == [str(own)]


def test_a_config_is_looked_for_in_the_working_directory_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "quickstart.yaml").write_text("")
    assert Options().config_of("quickstart") == tmp_path / "configs" / "quickstart.yaml"
    assert Options().config_of("delays").is_file()
    with pytest.raises(InputError, match=r"no config 'configs/none\.yaml'"):
        Options().config_of("none")
