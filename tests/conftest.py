"""Settings of the whole suite, and what several of its folders share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from lstm_ray.config import Config
from lstm_ray.model.policy import Policy
from tests import made, s3

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


@pytest.fixture(scope="session")
def object_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3.Server]:
    """A server of objects that lets everybody in."""
    with s3.serving(tmp_path_factory.mktemp("s3") / "log") as server:
        yield server


@pytest.fixture
def storage(object_server: s3.Server, monkeypatch: pytest.MonkeyPatch) -> s3.Server:
    """The same, named by this process's environment."""
    for name, value in object_server.environment.items():
        monkeypatch.setenv(name, value)
    return object_server
