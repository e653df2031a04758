"""Settings of the whole suite, and what several of its folders share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import settings

from lstm_ray.config import Config
from lstm_ray.model.policy import Policy
from tests import made

torch.set_num_threads(1)
settings.register_profile("suite", max_examples=25, deadline=None, derandomize=True, database=None)
settings.load_profile("suite")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """An hourly CSV of two series with gaps."""
    return made.write_table(tmp_path / "table.csv")


@pytest.fixture
def config(table: Path) -> Config:
    """A small forecast of that table."""
    return made.make_config(table)


@pytest.fixture(scope="session")
def policy() -> Policy:
    """A policy for ``made.segments_of()`` with random weights."""
    return made.random_policy(made.make_config(), made.segments_of())
