from __future__ import annotations

import socket

import pytest
import ray

from lstm_ray.errors import InputError
from lstm_ray.on_ray import cluster


def test_an_address_where_nothing_answers_is_refused_at_once(monkeypatch):
    if ray.is_initialized():
        ray.shutdown()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InputError, match=f"no Ray cluster answers at '{address}'"):
        cluster.ensure()
    assert not ray.is_initialized()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (
            "RAY_TMPDIR",
            "/proc/nothing",
            "Ray cannot be started on this machine: .*/proc/nothing.*preprocess.engine: polars",
        ),
        ("RAY_ADDRESS", "nonsense", "cluster at 'nonsense' cannot be joined: .*check --address or RAY_ADDRESS"),
    ],
)
def test_what_keeps_ray_from_starting_is_one_clear_error(monkeypatch, name, value, words):
    if ray.is_initialized():
        ray.shutdown()
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=words) as caught:
        cluster.ensure()
    assert "\n" not in str(caught.value)
    assert not ray.is_initialized()
