"""What travels with a job, and what is told of one."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from ray._private.runtime_env import packaging
from ray.job_submission import JobStatus

from lstm_ray.cli import app, main
from lstm_ray.errors import InputError
from lstm_ray.on_ray import submit
from lstm_ray.on_ray.addresses import job_server
from lstm_ray.on_ray.ports import free_port
from lstm_ray.on_ray.submit import JobLostError, Jobs, require_small, shipped

ROOT = Path(__file__).parents[2]
MOST_BYTES = 5_000_000


def test_the_copy_of_this_repository_is_small_and_holds_what_jobs_need(tmp_path):
    found = shipped(ROOT)
    assert sum(found.values()) < MOST_BYTES
    assert {path.parts[0] for path in found} == {"lstm_ray", "jobs", "configs", "README.md", "pyproject.toml"}
    needed = [*ROOT.glob("jobs/*.py"), *ROOT.glob("configs/*.yaml")]
    needed += [path for path in ROOT.glob("lstm_ray/**/*") if path.is_file() and "__pycache__" not in path.parts]
    assert {path.relative_to(ROOT) for path in needed} <= set(found)
    archive = tmp_path / "sent.zip"
    packaging.create_package(str(ROOT), archive, include_gitignore=True, excludes=[".git", "__pycache__"])
    assert archive.stat().st_size < MOST_BYTES, "what Ray itself packs"


def test_a_working_directory_that_ray_would_refuse_is_one_clear_error(tmp_path, monkeypatch):
    (tmp_path / "large.bin").write_bytes(bytes(3000))
    (tmp_path / "left_out.bin").write_bytes(bytes(9000))
    (tmp_path / ".rayignore").write_text("left_out.bin\n")
    monkeypatch.setattr(packaging, "GCS_STORAGE_MAX_SIZE", 2000)
    with pytest.raises(InputError, match=r"large\.bin .*\.rayignore"):
        require_small(tmp_path)
    monkeypatch.setattr(packaging, "GCS_STORAGE_MAX_SIZE", 4000)
    require_small(tmp_path)


def test_whatever_has_a_file_in_jobs_can_be_submitted_by_name():
    commands = typer.main.get_command(app).commands
    jobs = {file.stem.replace("_", "-") for file in (ROOT / "jobs").glob("*.py")} - {"lifecycle"}
    assert {"run", *jobs} <= set(commands)


class Client:
    """A job server whose log's connection breaks as told: pieces, or what is raised between them."""

    def __init__(self, *tails: list[str | Exception], **ended: Any) -> None:
        self.tails, self.found = list(tails), SimpleNamespace(**{"submission_id": "own", "message": "", **ended})

    async def tail_job_logs(self, name: str) -> AsyncIterator[str]:
        for piece in self.tails.pop(0) if len(self.tails) > 1 else self.tails[0]:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    def get_job_info(self, name: str) -> SimpleNamespace:
        if name == "none":
            raise RuntimeError("Request failed with status code 404: no such job at port 4040")
        return self.found


def jobs_of(client: Client) -> Jobs:
    jobs = Jobs.__new__(Jobs)
    jobs.url, jobs._client = "http://127.0.0.1:8265", client  # type: ignore[assignment]
    return jobs


BROKEN = RuntimeError("WebSocket connection closed unexpectedly")
WELL = {"status": JobStatus.SUCCEEDED, "driver_exit_code": 0}


def test_a_connection_that_breaks_after_hours_is_made_anew_and_no_line_is_told_twice(monkeypatch):
    now = [0.0]

    def slept(seconds: float) -> None:
        now[0] += 1.0

    monkeypatch.setattr(submit, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=slept))

    def told(text: str) -> None:
        now[0] += 3600.0
        written.append(text)

    written, said = list[str](), list[str]()
    jobs = jobs_of(Client(["one\n", "two\n", BROKEN], [BROKEN], ["one\ntwo\nthr", "ee\n"], **WELL))
    assert jobs.follow("own", told, said.append) == 0
    assert "".join(written) == "one\ntwo\nthree\n"
    assert said == ["the job server does not answer; trying for 60 s"]
    with pytest.raises(JobLostError, match=r"no longer answers.*--follow own --address http://127\.0\.0\.1:8265"):
        jobs_of(Client(["one\n", BROKEN], [BROKEN], **WELL)).follow("own", told)


def test_a_job_that_is_unknown_never_began_or_was_lost_is_each_told_as_what_it_is():
    with pytest.raises(InputError, match=r"knows no job 'none'"):
        jobs_of(Client([], **WELL)).follow("none", print)
    failed: dict[str, Any] = {"status": JobStatus.FAILED, "driver_exit_code": None}
    never = Client([], **failed, error_type="RUNTIME_ENV_SETUP_FAILURE", message="no such package")
    with pytest.raises(InputError, match=r"was not run: no such package"):
        jobs_of(never).follow("own", print)
    lost = Client([], **failed, error_type="JOB_SUPERVISOR_ACTOR_DIED", message="the actor died")
    with pytest.raises(JobLostError, match=r"was lost \(the actor died\); the same command goes on"):
        jobs_of(lost).follow("own", print)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["./configs/quickstart.yaml"], "no job server answers"),
        (["configs//quickstart.yaml"], "no job server answers"),
        (["configs/quickstart.yaml", "--set", "data.source=s3://key:sesame@b/t.csv"], "holds a secret"),
        (["configs/quickstart.yaml", "--set", "data.source=[a.csv, s3://key:sesame@b/t.csv]"], "holds a secret"),
        (["configs/quickstart.yaml", "--set=train.start_from=s3://key:sesame@b/t"], "holds a secret"),
        (["configs/quickstart.yaml", "--run-dir=s3://key:sesame@b/run"], "would be shown"),
    ],
)
def test_what_is_sent_is_asked_for_before_anything_is(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    place = ["--address", f"http://127.0.0.1:{free_port()}", "--run-dir", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", ["lstm-ray", "submit", "train", *place, *words])
    with pytest.raises(SystemExit) as left:
        main()
    error = capsys.readouterr().err
    assert (left.value.code, said in error) == (2, True), error
    assert "sesame" not in error


@pytest.mark.parametrize("address", ["http://127.0.0.1:99999", "http://127.0.0.1:abc", "http://[::1"])
def test_a_port_that_is_none_is_one_clear_error(address):
    with pytest.raises(InputError, match=r"is no address of a job server"):
        job_server(address)
