"""One cluster of two nodes for all that breaks one: it is whole again after each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lstm_ray.benchmark.chaos.suite import CPUS, NODES, mended
from lstm_ray.on_ray.nodes import Nodes, running


@pytest.fixture(scope="package")
def shared_nodes() -> Iterator[Nodes]:
    with running(NODES, CPUS) as nodes:
        yield nodes


@pytest.fixture
def nodes(shared_nodes: Nodes) -> Iterator[Nodes]:
    """Two nodes with one CPU each."""
    yield shared_nodes
    mended(shared_nodes)


@pytest.fixture(scope="package")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where cases of chaos keep what they share, such as undisturbed runs."""
    return tmp_path_factory.mktemp("chaos")
