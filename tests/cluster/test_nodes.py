"""A cluster of nodes on this machine: what belongs to it ends with it, and nothing else does."""

from __future__ import annotations

import ast
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ray._private.ray_constants import PROMETHEUS_SERVICE_DISCOVERY_FILE

from lstm_ray.errors import InputError
from lstm_ray.on_ray.nodes import Nodes, running

pytestmark = pytest.mark.timeout(600)
ROOT = Path(__file__).parents[2]
SEEN_SECONDS = 120.0
ALIVE = "import ray; ray.init(log_to_driver=False); print(sorted(n['NodeManagerAddress'] for n in ray.nodes() if n['Alive']))"
ORPHAN = """
import subprocess, ray
ray.init(log_to_driver=False)
@ray.remote(num_cpus=0)
class Starter:
    def start(self):
        return subprocess.Popen(["sleep", "1234"], start_new_session=True).pid
starter = Starter.options(name="starter", lifetime="detached").remote()
print(ray.get(starter.start.remote()))
"""
STARTER = """
import sys
from lstm_ray.on_ray.nodes import running
with running(1) as nodes:
    print(nodes.members[0].processes(), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other() -> Iterator[Nodes]:
    """A second cluster on this machine, of one node."""
    with running(1) as nodes:
        yield nodes


def asked(nodes: Nodes, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A driver that joins the nodes and runs a script."""
    return subprocess.run(
        [sys.executable, "-c", script],
        env=nodes.environment | {"RAY_ADDRESS": nodes.address} | environment,
        capture_output=True,
        text=True,
        timeout=SEEN_SECONDS,
    )


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + SEEN_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {SEEN_SECONDS:g} s"
        time.sleep(0.1)


def lives(pid: int) -> bool:
    """Whether it is a process that is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def accepts(host: str, port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((host, port)) == 0


def test_two_clusters_on_one_machine_do_not_see_each_other(shared_nodes, other):
    assert asked(other, ALIVE).stdout.strip() == "['127.0.0.2']"
    seen = ast.literal_eval(asked(shared_nodes, ALIVE).stdout.strip())
    assert len(seen) == sum(node.runs for node in shared_nodes.members) >= 2
    wrong = asked(other, ALIVE, RAY_AUTH_TOKEN=shared_nodes.token)
    assert wrong.returncode != 0, "the token of another cluster opens no door"
    members = {pid for node in shared_nodes.members for pid in node.processes()}
    own = {pid for node in other.members for pid in node.processes()}
    assert members
    assert own
    assert not members & own
    other.end()
    assert not any(map(lives, own))
    assert all(map(lives, [node.process.pid for node in shared_nodes.members if node.runs]))
    assert not accepts("127.0.0.1", other.jobs_port)
    assert accepts("127.0.0.1", shared_nodes.jobs_port), "the job server of the other cluster is still there"


def test_a_killed_node_leaves_nothing_and_takes_nothing_else(other):
    node = other.add(1, labels={"market": "spot"}, resources={"disk": 2})
    told = asked(
        other,
        "import ray; ray.init(log_to_driver=False); print([n['Labels'] for n in ray.nodes()], ray.cluster_resources())",
    )
    assert "'market': 'spot'" in told.stdout
    assert "'disk': 2.0" in told.stdout
    stranger = subprocess.Popen(["sleep", "1234"])
    try:
        own, (head, _) = node.processes(), other.members
        assert node.processes("raylet", "--raylet_socket_name")
        assert node.processes("no such words") == []
        node.kill()
        assert not any(map(lives, own))
        assert not node.runs
        assert node.processes() == []
        assert stranger.poll() is None
        assert head.runs
        wait_for(lambda: asked(other, ALIVE).stdout.strip() == "['127.0.0.2']", "the death told by the head")
        node.kill()
        node.end()
    finally:
        stranger.kill()
        stranger.wait()


def test_what_a_worker_has_started_in_a_session_of_its_own_ends_with_its_node(other):
    """As the driver of a job does: by its parents it would be found as long as these live."""
    started = int(asked(other, ORPHAN).stdout.strip().splitlines()[-1])
    assert lives(started)
    other.members[0].end()
    assert not lives(started)


def test_a_cluster_ends_with_the_process_that_started_it_though_that_is_killed(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", STARTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as starter:
        assert starter.stdout is not None
        pids = [int(pid) for pid in re.findall(r"\d+", starter.stdout.readline())]
        assert len(pids) > 2
        starter.kill()
        wait_for(lambda: not any(map(lives, pids)), "the end of the cluster")


def test_a_node_that_cannot_start_says_why_and_leaves_nothing(other):
    with pytest.raises(InputError, match="no-such-option"):
        other.add(1, more=["--no-such-option"])
    assert len(other.members) == 1


def test_the_demo_prints_how_to_submit_and_ends_what_it_started(tmp_path):
    log = tmp_path / "log"
    demo = [sys.executable, "cluster/local.py", "--nodes", "1", "--cpus", "2", "--port", "0", "--dashboard-port", "0"]
    with open(log, "w") as output:
        process = subprocess.Popen(demo, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT)
    try:
        wait_for(lambda: "Ctrl-C" in log.read_text() or process.poll() is not None, "the demo's words")
        said = log.read_text()
        assert process.poll() is None, said
        assert "1 node of 2 CPUs" in said
        assert re.search(r"^export RAY_AUTH_MODE=token RAY_AUTH_TOKEN=\w+$", said, re.MULTILINE)
        jobs = re.search(r"^lstm-ray submit run \S+ --address http://127\.0\.0\.1:(\d+)", said, re.MULTILINE)
        assert jobs, said
        assert accepts("127.0.0.1", int(jobs[1]))
        asked = re.search(r"^lstm-ray doctor --address 127\.0\.0\.2:(\d+)$", said, re.MULTILINE)
        assert asked, said
        assert accepts("127.0.0.2", int(asked[1]))
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=SEEN_SECONDS) == 0
        assert not accepts("127.0.0.1", int(jobs[1]))
    finally:
        process.kill()
        process.wait()


def test_the_demo_names_what_is_its_own_and_not_the_machines(tmp_path):
    words = runpy.run_path(str(ROOT / "cluster/local.py"))["words"]
    said = words(Nodes(tmp_path, 7000, 7001, "t0"), 2, 1).splitlines()
    export, submit, doctor = said[2:5]
    assert export == "export RAY_AUTH_MODE=token RAY_AUTH_TOKEN=t0"
    assert " --address http://127.0.0.1:7001 " in submit
    assert doctor == "lstm-ray doctor --address 127.0.0.2:7000"
    assert any(line.endswith(f"files: [{tmp_path}/0/{PROMETHEUS_SERVICE_DISCOVERY_FILE}]") for line in said)


@pytest.mark.parametrize(
    ("given", "told"),
    [(["--nodes", "0"], "at least 1"), (["--nodes", "two"], "invalid int"), (["--cpus", "-1"], "0 or more")],
)
def test_the_demo_refuses_what_is_no_cluster(given, told):
    done = subprocess.run([sys.executable, "cluster/local.py", *given], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_the_demo_explains_itself():
    done = subprocess.run([sys.executable, "cluster/local.py", "--help"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0
    assert "--nodes" in done.stdout
    assert "--cpus" in done.stdout
    assert os.environ.get("RAY_AUTH_TOKEN", "no token") not in done.stdout
