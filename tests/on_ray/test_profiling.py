"""A profile on demand tells what took the time, is bounded, and changes nothing."""

from __future__ import annotations

import json
import logging
import re
import time
from pathlib import Path
from types import ModuleType

import pytest
import torch

from lstm_ray.commands.options import PROFILES, named
from lstm_ray.errors import InputError
from lstm_ray.on_ray import profiling
from lstm_ray.on_ray.profiling import KINDS, profiled, require_kind, sampled, table
from lstm_ray.run_dir import RunDir


def trained(steps: int) -> list[float]:
    """Weights after some steps that a seed decides."""
    torch.manual_seed(3)
    network = torch.nn.Linear(4, 1)
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.1)
    for _ in range(steps):
        optimiser.zero_grad()
        network(torch.randn(8, 4)).square().mean().backward()
        optimiser.step()
    return network.weight.flatten().tolist()


def traced(run: Path) -> list[str]:
    events = json.loads((run / "profile/train-torch.json").read_text())["traceEvents"]
    return [event["name"] for event in events]


def test_torchs_profile_names_its_operators_and_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = trained(5)
    with profiled("torch", "train", RunDir(tmp_path)):
        assert trained(5) == plain
    assert any(name.startswith("Optimizer.step") for name in traced(tmp_path))
    # Where a test before this one has left Ray running, its timeline comes first.
    said = capsys.readouterr().err.splitlines()
    (at,) = (n for n, line in enumerate(said) if line.endswith(f"profile: {tmp_path}/profile/train-torch.json"))
    heading, *top = said[at + 1 :]
    assert re.search(r"this process alone, \d+\.\d of \d+\.\d s.*:$", heading)
    assert 1 <= len(top) <= profiling.TOP
    assert any("AdamW" in line or "aten::" in line for line in top)


def test_torchs_profile_stops_after_enough_and_leaves_no_hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "MOST_STEPS", 3)
    with profiled("torch", "train", RunDir(tmp_path)):
        trained(20)
        hooks: ModuleType = torch.nn.modules.module
        assert not hooks._global_forward_hooks
    assert sum(name.startswith("Optimizer.step") for name in traced(tmp_path)) <= 3


def test_a_stage_that_fails_leaves_its_profile_and_its_error(tmp_path: Path) -> None:
    def failing() -> None:
        trained(2)
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"), profiled("torch", "train", RunDir(tmp_path)):
        failing()
    assert traced(tmp_path)


@pytest.mark.skipif(profiling._py_spy() is None, reason="py-spy is not installed")
def test_py_spy_names_the_function_that_took_the_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def busy() -> None:
        until = time.monotonic() + 3
        while time.monotonic() < until:
            sum(range(1000))

    with profiled("py-spy", "explore", RunDir(tmp_path)):
        busy()
    found = json.loads((tmp_path / "profile/explore-py-spy.json").read_text())
    assert any("busy" in frame["name"] for frame in found["shared"]["frames"])
    assert "busy (test_profiling.py:" in capsys.readouterr().err


def test_samples_are_added_up_by_the_function_that_ran() -> None:
    frames = [{"name": "main", "file": "/a/b.py", "line": 1}, {"name": "work", "file": "/a/b.py", "line": 9}]
    threads = [{"samples": [[0, 1], [0], [0, 1], []], "weights": [0.5, 0.25, 0.5, 9.0]}]
    rows = sampled({"shared": {"frames": frames}, "profiles": threads})
    assert sorted(rows) == [("main (b.py:1)", 0.25, 1), ("work (b.py:9)", 1.0, 2)]
    heading, *top = table(rows, 3.0, has_timeline=True)
    assert heading == "this process alone, 1.2 of 3.0 s; Ray's workers are in the timeline:"
    assert [line.split()[-2] for line in top] == ["work", "main"]
    assert table(rows, 3.0, has_timeline=False)[0] == "this process alone, 1.2 of 3.0 s:"
    assert table([], 3.0, has_timeline=True) == []


def test_rays_timeline_lies_beside_without_words_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, local_ray: None
) -> None:
    logger = logging.getLogger("ray._private.state")
    logger.setLevel(logging.NOTSET)
    logger.addHandler(caplog.handler)
    with profiled("torch", "train", RunDir(tmp_path)):
        trained(2)
    logger.removeHandler(caplog.handler)
    assert isinstance(json.loads((tmp_path / "profile/train-timeline.json").read_text()), list)
    assert "Ray's workers are in the timeline" in capsys.readouterr().err
    assert [record for record in caplog.records if record.name.startswith("ray")] == []


def test_a_profile_that_is_unknown_or_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="did you mean 'py-spy'"):
        require_kind("pyspy")
    monkeypatch.setattr(profiling, "_py_spy", lambda: None)
    with pytest.raises(InputError, match=r"pip install 'lstm-ray\[profile\]'"):
        require_kind("py-spy")
    require_kind("torch")


def test_a_bare_option_means_torchs() -> None:
    assert tuple(KINDS) == PROFILES
    assert named(["run", "a.yaml", "--profile"]) == ["run", "a.yaml", "--profile=torch"]
    assert named(["run", "--profile", "a.yaml"]) == ["run", "--profile=torch", "a.yaml"]
    assert named(["run", "--profile", "py-spy", "a.yaml"]) == ["run", "--profile", "py-spy", "a.yaml"]
    assert named([]) == []


def test_a_word_after_the_option_is_a_kind_unless_it_is_what_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert named(["run", "a.yaml", "--profile", "xx"]) == ["run", "a.yaml", "--profile", "xx"]
    with pytest.raises(InputError, match="known: py-spy, torch"):
        require_kind("xx")
    (tmp_path / "xx").mkdir()
    assert named(["evaluate", "--profile", "xx"]) == ["evaluate", "--profile=torch", "xx"]
    assert named(["run", "--profile", "--force", "a.yaml"]) == ["run", "--profile=torch", "--force", "a.yaml"]
