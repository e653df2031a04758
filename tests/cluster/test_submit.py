"""Work sent to a real cluster as a job: followed, stopped and resumed; and each wrong address, token and version."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import ray

from lstm_ray.on_ray.nodes import Nodes
from lstm_ray.on_ray.ports import free_port
from tests.e2e.conftest import BIN, ROOT, group, wait_for
from tests.e2e.test_kill import SMALL

pytestmark = pytest.mark.timeout(900)
LSTM_RAY = str(BIN / "lstm-ray")
TRAIN = ["train", "configs/quickstart.yaml", *SMALL, "--set=train.max_epochs=30", "--set=train.patience=30"]


@pytest.fixture
def environment() -> dict[str, str]:
    """Of a process that knows no cluster."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}


def told(environment: Mapping[str, str], *arguments: str, cwd: Path = ROOT) -> tuple[int, str, str]:
    done = subprocess.run(
        [LSTM_RAY, *arguments], env=environment, cwd=cwd, capture_output=True, text=True, timeout=600, check=False
    )
    return done.returncode, done.stdout, done.stderr


def one_error(answer: tuple[int, str, str], *words: str) -> None:
    code, out, error = answer
    assert code == 2, out + error
    assert error.startswith("error: ")
    assert error.count("\n") == 1, error
    for word in words:
        assert word in error


def result(run: Path) -> dict:
    return json.loads((run / "train/report.json").read_text())["validation"]


def test_a_stopped_job_leaves_a_whole_run_and_goes_on_when_submitted_again(tmp_path: Path, nodes: Nodes) -> None:
    run, plain, log = tmp_path / "run", tmp_path / "plain", tmp_path / "log"
    submit = ["submit", *TRAIN, "--address", nodes.jobs, "--run-dir", str(run)]
    with group([LSTM_RAY, *submit], nodes.environment, log) as follower:
        kept = run.glob
        wait_for(lambda: any(kept(".work/train-*/checkpoints/epoch-*/training.json")), 240, log.read_text)
        [name] = re.findall(r"✓ job (train-quickstart-\d{8}-\d{6}-\w{4})", log.read_text())
        code, out, error = told(nodes.environment, "submit", "--stop", name, "--address", nodes.jobs)
        assert (code, out, error) == (0, f"{name} is stopped\n", "")
        assert follower.wait(timeout=60) == 143
    said = log.read_text()
    assert said.count("stopped; the same command goes on from here") == 1
    assert "Traceback" not in said
    assert "SIGTERM" not in said
    assert f"{nodes.jobs}/#/jobs/{name}" in said
    assert not (run / "train").exists(), "what was stopped does not look whole"
    assert (run / "split/report.json").exists()
    code, out, error = told(nodes.environment, *submit)
    assert code == 0, out + error
    assert "✓ train " in out
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", out), "a log holds no control codes"
    assert max(map(len, out.splitlines())) < 1000
    code, out, error = told(nodes.environment, *TRAIN, "--run-dir", str(plain))
    assert code == 0, error
    assert result(run)["mae"] == pytest.approx(result(plain)["mae"], rel=1e-6)


def test_a_job_from_another_folder_brings_this_package_and_its_exit_code_comes_back(
    tmp_path: Path, nodes: Nodes
) -> None:
    (tmp_path / "rows.txt").write_text("a,time\n1,2024-01-01\n")
    (tmp_path / "own.yaml").write_text(
        "name: own\ntask: forecast\ndata: {source: rows.txt, time: time, target: [a]}\n"
        "window: {history: 4, horizon: 2, patch: 2}\n"
    )
    submit = ["submit", "explore", "own.yaml", "--address", nodes.jobs, "--run-dir", str(tmp_path / "run")]
    code, out, _ = told(nodes.environment, *submit, cwd=tmp_path)
    assert code == 2, out
    assert out.count("error: ") == 1, "the job itself refused a table that is none"
    told_of = [job["metadata"] for job in json.loads(told_by(nodes, "/api/jobs/"))]
    [found] = [metadata for metadata in told_of if metadata.get("run") == "own"]  # A plain driver's entry has none.
    assert (found["command"], found["config"]) == ("explore", "own.yaml")


def told_by(nodes: Nodes, path: str) -> str:
    from urllib.request import Request, urlopen

    asked = Request(nodes.jobs + path, headers={"Authorization": f"Bearer {nodes.token}"})
    with urlopen(asked, timeout=30) as answer:
        return answer.read().decode()


def without_token(nodes: Nodes, home: Path) -> dict[str, str]:
    kept = {name: value for name, value in nodes.environment.items() if name != "RAY_AUTH_TOKEN"}
    return kept | {"HOME": str(home)}


@pytest.fixture
def driver() -> list[str]:
    """A command that joins a cluster before it looks at anything else."""
    code = (
        "from lstm_ray.cli import guarded\nfrom lstm_ray.on_ray import cluster\n"
        "guarded(lambda: (cluster.ensure(), print('joined')))"
    )
    return [sys.executable, "-c", code]


def joining(driver: list[str], address: str, environment: Mapping[str, str]) -> tuple[int, str, str]:
    done = subprocess.run(
        driver,
        env=dict(environment) | {"RAY_ADDRESS": address},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_wrong_token_and_none_are_one_clear_error(tmp_path: Path, nodes: Nodes, driver: list[str]) -> None:
    wrong = nodes.environment | {"RAY_AUTH_TOKEN": "another-token-than-the-one-of-this-cluster"}
    submit = ["submit", "split", "configs/quickstart.yaml", "--run-dir", str(tmp_path), "--address", nodes.jobs]
    one_error(told(wrong, *submit), "the token of this process is not its", "RAY_AUTH_TOKEN")
    one_error(told(without_token(nodes, tmp_path), *submit), "this process shows none", "RAY_AUTH_TOKEN")
    one_error(joining(driver, nodes.address, wrong), "the token of this process is not its", "RAY_AUTH_TOKEN")
    one_error(joining(driver, nodes.address, without_token(nodes, tmp_path)), "this process shows none")


def test_the_dashboards_port_and_the_drivers_port_are_told_apart(nodes: Nodes, driver: list[str]) -> None:
    one_error(
        joining(driver, nodes.jobs.removeprefix("http://"), nodes.environment), "is the dashboard of a Ray cluster"
    )
    submit = ["submit", "split", "configs/quickstart.yaml", "--run-dir", "/tmp/nothing", "--address"]
    one_error(told(nodes.environment, *submit, f"http://{nodes.address}"), "is no job server of Ray")
    nobody = f"http://127.0.0.1:{free_port()}"
    one_error(told(nodes.environment, *submit, nobody), f"no job server answers at '{nobody}'")
    one_error(told(nodes.environment, "submit", "--stop", "nothing", "--address", nodes.jobs), "knows no job 'nothing'")


def test_another_version_of_ray_is_one_clear_error_for_a_driver(
    tmp_path: Path, nodes: Nodes, driver: list[str]
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import ray\nray.__version__ = '2.59.1'\n")
    answer = joining(driver, nodes.address, nodes.environment | {"PYTHONPATH": str(tmp_path)})
    one_error(answer, "Version mismatch", f"Ray: {ray.__version__}", "Ray: 2.59.1", "Install here")


def test_another_version_of_this_package_on_the_cluster_is_one_clear_error(nodes: Nodes, driver: list[str]) -> None:
    code = f"import lstm_ray\nlstm_ray.__version__ = '0.0.7'\n{driver[-1]}"
    answer = joining([*driver[:-1], code], nodes.address, nodes.environment)
    one_error(answer, "and this is 0.0.7", "lstm-ray submit")
    assert joining(driver, nodes.address, nodes.environment) == (0, "joined\n", "")


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """A web server that answers everything alike."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"version": "4", "ray_version": "2.40.0"}', ("runs Ray 2.40.0", f"and this is {ray.__version__}")),
        (b"<html>", ("is no job server of Ray",)),
    ],
    ids=["another Ray", "no Ray"],
)
def test_another_ray_and_another_server_refuse_a_job_in_one_clear_error(
    environment: dict[str, str], body: bytes, words: tuple[str, ...]
) -> None:
    with answering(body) as url:
        began = time.monotonic()
        submit = ["submit", "split", "configs/quickstart.yaml", "--run-dir", "/tmp/nothing", "--address", url]
        one_error(told(environment | {"RAY_AUTH_TOKEN": "made-up"}, *submit), *words)
        assert time.monotonic() - began < 120


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "configs/quickstart.yaml"], "--run-dir 'runs/quickstart' would lie in the job's own copy"),
        (["forecast", "runs/mine", "--data", "s3://b/x", "--out", "/tmp/out"], "RUN 'runs/mine' would lie"),
        (["trian", "configs/quickstart.yaml"], "did you mean 'train'"),
        (["train", "tests/../README.md/none.yaml"], "none.yaml"),
        (
            ["train", "configs/quickstart.yaml", "--run-dir", "/tmp/x", "--set", "data.source=nothing.csv"],
            "'nothing.csv' does not travel with the job",
        ),
        (
            ["train", "configs/quickstart.yaml", "--run-dir", "s3://KEY:SECRET@bucket/run"],
            "would be shown to whoever sees the dashboard",
        ),
        ([], "name one"),
    ],
)
def test_what_a_job_would_lose_or_not_see_is_refused_before_anything_is_sent(
    environment: dict[str, str], arguments: list[str], words: str
) -> None:
    code, _, error = told(environment, "submit", *arguments, "--address", "http://127.0.0.1:1")
    assert code == 2
    assert words in error
    assert ":SECRET@" not in error
