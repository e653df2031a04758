"""One Ray on this machine for every test of this folder that asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import ray

from lstm_ray.on_ray import cluster


@pytest.fixture(scope="package")
def local_ray() -> Iterator[None]:
    """A local Ray, as a stage would start it; it ends after the folder's last test."""
    cluster.ensure()
    yield
    ray.shutdown()
