"""One small run for all of this folder's tests; each that changes it has a copy."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lstm_ray.lifecycle import run_stages
from lstm_ray.run_dir import RunDir
from tests.retrain import worlds


@pytest.fixture(scope="package")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory with a trained policy; not to be changed."""
    folder = tmp_path_factory.mktemp("retrain")
    table = worlds.write(folder / "old.csv", 0, worlds.OLD)
    run_stages(worlds.config_of(table), RunDir(folder / "run"), ["train"])
    return folder / "run"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A run directory of one's own."""
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def new_rows(tmp_path: Path) -> Callable[..., str]:
    """Writes rows that follow the run's table, the wave twice as fast; returns the file."""

    def written(first: int = worlds.OLD, steps: int = worlds.NEW, period: int = 12, seed: int = 2) -> str:
        return str(worlds.write(tmp_path / f"new-{first}-{seed}.csv", first, steps, period, seed))

    return written
