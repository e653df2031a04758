"""Run directories to make a page of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lstm_ray.run_dir import RunDir

from .fake_run import fill


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., RunDir]:
    """``make_run("explore", "train", nasty=True)`` gives a run in which those stages have run; none named: all."""

    def make(*stages: str, nasty: bool = False) -> RunDir:
        return fill(RunDir(tmp_path / "run"), *stages, nasty=nasty)

    return make
