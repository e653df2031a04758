"""The cable to a machine of its own, which may be slow or cut."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lstm_ray.benchmark.chaos import machines, network
from lstm_ray.benchmark.chaos.outcome import LeftOut
from lstm_ray.on_ray.nodes import Nodes

PORT = 8080
ECHO = """
import socket, sys
listening = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("listening", flush=True)
while True:
    one, _ = listening.accept()
    while said := one.recv(65536):
        one.sendall(said)
"""
needs_namespaces = pytest.mark.skipif(bool(network.unable()), reason=network.unable() or "it can be made")


@contextmanager
def echoing() -> Iterator[tuple[network.Cable, socket.socket]]:
    """A connection through a cable to a program that says everything again."""
    with network.apart() as (cable, hosts, inside, _):
        there = hosts.format(network.THERE)
        command = [*inside, sys.executable, "-c", ECHO, there, str(PORT)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline()
            try:
                with socket.create_connection((there, PORT), timeout=20) as connection:
                    yield cable, connection
            finally:
                process.kill()


def seconds_of(connection: socket.socket, size: int = 1) -> float:
    """Of so many bytes, there and back."""
    began, left = time.monotonic(), size
    connection.sendall(b"x" * size)
    while left:
        left -= len(connection.recv(left))
    return time.monotonic() - began


@needs_namespaces
def test_a_cable_is_as_slow_as_it_is_told_and_fast_again() -> None:
    with echoing() as (cable, connection):
        seconds_of(connection)
        cable.delay_seconds = 0.2
        assert seconds_of(connection) >= 0.4
        cable.delay_seconds = 0.0
        assert min(seconds_of(connection) for _ in range(5)) < 0.2
        cable.bytes_per_second = 100_000.0
        assert seconds_of(connection, 50_000) >= 0.5


@needs_namespaces
def test_a_cut_is_silent_and_a_connection_outlives_a_short_one() -> None:
    with echoing() as (cable, connection):
        seconds_of(connection)
        cable.is_cut = True
        connection.settimeout(0.5)
        with pytest.raises(TimeoutError):
            seconds_of(connection)
        assert cable.num_lost > 0
        cable.is_cut = False
        connection.settimeout(20)
        assert connection.recv(1) == b"x", "what was sent meanwhile comes late"


@needs_namespaces
def test_what_is_made_for_a_namespace_goes_with_it() -> None:
    with network.apart() as (_, hosts, inside, _):
        name = inside[-1]
        assert name in _said("ip", "netns", "list")
        assert hosts.format(network.HERE) in _said("ip", "-brief", "address")
    assert name not in _said("ip", "netns", "list")
    assert hosts.format(network.HERE) not in _said("ip", "-brief", "address")


def test_where_there_can_be_no_namespace_a_case_is_left_out_with_the_reason(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(network, "unable", lambda: "made by root alone")
    for case in (machines.slow, machines.cut, machines.cut_off, machines.cut_off_rollouts):
        with pytest.raises(LeftOut, match="root alone"):
            case(Nodes(tmp_path, 1, 1, ""), tmp_path)


def _said(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
