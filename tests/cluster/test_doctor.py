"""The doctor on two real nodes: what is well, a node that is gone, and a token that is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from lstm_ray.on_ray.nodes import Nodes, running
from lstm_ray.on_ray.ports import free_port


@pytest.fixture(scope="module")
def own_nodes() -> Iterator[Nodes]:
    """Two nodes of this module's own, for one of them is killed."""
    with running(2, 1) as nodes:
        yield nodes


def examined(environment: Mapping[str, str], *options: str) -> tuple[int, list[dict]]:
    answer = subprocess.run(
        [sys.executable, "-m", "lstm_ray", "doctor", "--json", *options],
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    told = json.loads(answer.stdout)
    assert told["exit_code"] == answer.returncode, answer.stderr
    return answer.returncode, told["checks"]


def test_two_nodes_are_well_and_then_one_of_them_is_missed(own_nodes: Nodes, tmp_path: Path) -> None:
    options = "--address", own_nodes.address, "--run-dir", str(tmp_path / "run")
    code, checks = examined(own_nodes.environment, *options)
    assert code == 0, [check for check in checks if check["verdict"] == "wrong"]
    by = {(check["name"], check["where"]): check for check in checks}
    for node in ("127.0.0.2", "127.0.0.3"):
        for name in ("packages", "memory", "open files", "object store", "clock"):
            assert by[name, node]["verdict"] == "well"
    assert "2 nodes, 2 CPUs" in by["cluster", ""]["text"]
    assert by["dashboard", ""]["text"] == "asks for a token, on loopback"
    assert by["same versions", ""]["text"].endswith("2 in all")
    assert own_nodes.token not in json.dumps(checks)
    assert not (tmp_path / "run").exists()

    own_nodes.members[1].kill()
    for _ in range(10):  # the head takes its time to miss a node
        code, checks = examined(own_nodes.environment, "--address", own_nodes.address)
        gone = [check for check in checks if check["name"] == "node"]
        if gone:
            break
    assert {check["where"] for check in gone} == {"127.0.0.3"}
    assert all(check["advice"] for check in gone)


def test_a_wrong_token_is_one_thing_that_is_wrong(own_nodes: Nodes) -> None:
    environment = own_nodes.environment | {"RAY_AUTH_TOKEN": "f" * 64}
    code, checks = examined(environment, "--address", own_nodes.address)
    assert (code, [check["name"] for check in checks if check["verdict"] == "wrong"]) == (1, ["cluster"])


def test_an_address_where_nothing_answers_is_wrong(own_nodes: Nodes) -> None:
    code, checks = examined(own_nodes.environment, "--address", f"127.0.0.9:{free_port()}")
    assert (code, [check["name"] for check in checks if check["verdict"] == "wrong"]) == (1, ["cluster"])
