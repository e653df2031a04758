"""A run's policy written in other forms from the command line, beside it or elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lstm_ray.cli import main
from lstm_ray.errors import InputError
from lstm_ray.model.policy import Policy
from lstm_ray.serving.exports import export_run


def test_a_policy_is_exported_beside_itself_and_still_loads(
    tmp_path: Path, policy: Policy, capsys: pytest.CaptureFixture[str]
) -> None:
    version = policy.save(tmp_path / "run" / "policy")
    main_without_exit(["export", str(tmp_path / "run"), "--format", "torch"])
    said = capsys.readouterr().out
    assert "differences from Policy.predict in training deviations, on the made-up example: 1, 3, 16 at a time" in said
    assert "policy.pt2" in said
    folder = tmp_path / "run" / "policy"
    told = json.loads((folder / "export.json").read_text())
    assert told["policy"] == version
    assert [*told["files"]] == ["policy.pt2"]
    assert Policy.load(folder).version == version


def test_what_cannot_be_exported_is_said_before_anything_is_written(tmp_path: Path, policy: Policy) -> None:
    policy.save(tmp_path / "policy")
    before = sorted(path.name for path in (tmp_path / "policy").iterdir())
    with pytest.raises(InputError, match=r"--quantise int4 is not known; known: int8, bf16"):
        export_run(str(tmp_path), [], ["int4"])
    with pytest.raises(InputError, match="no form 'coreml'"):
        export_run(str(tmp_path), ["coreml"], [])
    with pytest.raises(InputError, match="no validation windows to judge int8 on"):
        export_run(str(tmp_path), [], ["int8"])
    with pytest.raises(InputError, match="holds no policy"):
        export_run(str(tmp_path / "nowhere"), [], [])
    with pytest.raises(InputError, match="on no local disk"):
        export_run("s3://bucket/run", [], [])
    assert sorted(path.name for path in (tmp_path / "policy").iterdir()) == before


def main_without_exit(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert not ended.value.code
