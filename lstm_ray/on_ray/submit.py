"""Work as a job on a Ray cluster: sent with a copy of the working directory, its log followed as it comes, stopped. Knows no
stage and no config."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import ray
import requests
from ray._private.ray_constants import get_runtime_env_default_excludes
from ray._private.runtime_env import packaging
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

import lstm_ray
from lstm_ray.errors import InputError
from lstm_ray.on_ray.addresses import job_server

DEFAULT = "http://127.0.0.1:8265"
STOP_SECONDS = 30
"""Between asking a stopped job to end and killing it: Ray's own 3 s are short for a stage that puts its work away."""
LOST_SECONDS = 60.0
"""How long a job server may be away while a job is followed."""
SIGTERM_CODE = 143
NEVER_BEGUN = (
    "RUNTIME_ENV_SETUP_FAILURE",
    "JOB_SUPERVISOR_ACTOR_START_TIMEOUT",
    "JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE",
    "JOB_ENTRYPOINT_COMMAND_START_ERROR",
)
"""Of Ray's kinds of failure those of a job that did nothing. What else has no exit code may have been at work for hours."""
CARRIED = ("LSTM_RAY_LOG",)
"""Variables of this process's environment that a job gets, too."""
CALM = (
    *("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"),
    *("ray._private.runtime_env.packaging", "ray._private.runtime_env.working_dir"),
)
"""What Ray tells of each step of an upload."""


class JobLostError(Exception):
    """A job, or the way to it, is gone; nothing that was given is wrong."""


class Jobs:
    """The jobs of a cluster."""

    def __init__(self, address: str) -> None:
        """Raises InputError where no job server that takes this process's token answers, or its Ray is another version."""
        given = address or os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS") or ""
        self.url, version = job_server(DEFAULT if given in ("", "auto", "local") else given)
        there, here = (".".join(one.split(".")[:2]) for one in (version, ray.__version__))
        if there != here:
            raise InputError(
                f"the cluster at '{self.url}' runs Ray {version}, and this is {ray.__version__}: what is sent needs Ray {here} "
                f"there too; start the cluster from an image that holds it, or submit from an installation with Ray {there}"
            )
        # Ray reads these before what it is given.
        os.environ["RAY_API_SERVER_ADDRESS"] = self.url
        for name in CALM:
            logging.getLogger(name).setLevel(logging.ERROR)
        self._client = JobSubmissionClient(self.url)

    def submit(self, arguments: Sequence[str], folder: Path, words: Sequence[str], metadata: Mapping[str, str]) -> str:
        """Start ``lstm-ray ARGUMENTS`` on the cluster in a copy of a folder. Returns the job's name.

        Args:
            words: what the name begins with.

        Raises InputError where the folder is larger than Ray takes.
        """
        require_small(folder)
        environment: dict[str, Any] = {
            "working_dir": str(folder),
            "env_vars": {
                "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS),
                **{key: os.environ[key] for key in CARRIED if key in os.environ},
            },
        }
        if not (folder / "lstm_ray" / "__init__.py").exists():
            # What runs there is what was asked here, whatever the cluster's machines have installed.
            environment |= {"py_modules": [str(Path(lstm_ray.__file__).parent)], "excludes": ["__pycache__"]}
        begins = "-".join(re.sub(r"[^A-Za-z0-9_]+", "-", word).strip("-") for word in words)
        name = f"{begins}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        try:
            return self._client.submit_job(
                entrypoint=shlex.join(["python", "-m", "lstm_ray", *arguments]),
                submission_id=name,
                runtime_env=environment,
                metadata=dict(metadata),
            )
        except (RuntimeError, AuthenticationError, requests.RequestException) as error:
            raise InputError(f"the job server at '{self.url}' does not take the job: {_first(error)}") from None

    def page(self, name: str) -> str:
        """Where the dashboard shows a job."""
        return f"{self.url}/#/jobs/{name}"

    def follow(self, name: str, write: Callable[[str], None], tell: Callable[[str], None] = lambda words: None) -> int:
        """Write a job's log as it comes, until the job ends. Returns its exit code; a connection that breaks is made anew.

        Args:
            tell: takes what is to be said of the connection.

        Raises:
            InputError: there is no such job, or it was never begun.
            JobLostError: the job's machine died, or nothing answers any more.
        """
        written, here, silent_since = 0, 0, 0.0
        self._found(name)

        def take(text: str) -> None:
            nonlocal written, here, silent_since
            write(text[max(0, written - here) :])
            here += len(text)
            written = max(written, here)
            silent_since = 0.0

        while True:
            try:
                here = 0
                asyncio.run(_each_piece(self._client, name, take))
                if (found := self._found(name)).status.is_terminal():
                    return self._code(found)
                silent_since = 0.0
            except (RuntimeError, aiohttp.ClientError, requests.RequestException) as error:
                now = time.monotonic()
                if not silent_since:
                    tell(f"the job server does not answer; trying for {LOST_SECONDS:g} s")
                silent_since = silent_since or now
                if now - silent_since > LOST_SECONDS:
                    raise JobLostError(
                        f"the job server at '{self.url}' no longer answers ({_first(error)}); the job may go on: "
                        f"lstm-ray submit --follow {name} --address {self.url}"
                    ) from None
            time.sleep(0.5)

    def stop(self, name: str) -> str:
        """Ask a job to end and wait until it has. Returns what became of it.

        Raises InputError where there is no such job, and JobLostError where nothing answers.
        """
        try:
            self._found(name)
            self._client.stop_job(name)
            while not (found := self._found(name)).status.is_terminal():
                time.sleep(0.2)
        except (RuntimeError, requests.RequestException) as error:
            raise JobLostError(f"the job server at '{self.url}' does not stop the job: {_first(error)}") from None
        return str(found.status)

    def _found(self, name: str) -> Any:
        try:
            return self._client.get_job_info(name)
        except RuntimeError as error:
            if "status code 404" not in str(error):
                raise
            raise InputError(f"the cluster at '{self.url}' knows no job '{name}'; `ray job list` names them") from None

    def _code(self, found: Any) -> int:
        if found.driver_exit_code is not None:
            return found.driver_exit_code if found.driver_exit_code >= 0 else 128 - found.driver_exit_code
        if found.status == "FAILED":
            said, page = _first(found.message), self.page(found.submission_id)
            if found.error_type in NEVER_BEGUN:
                raise InputError(f"the job was not run: {said}; more on {page}")
            raise JobLostError(f"the job was lost ({said}); the same command goes on from what it left; more on {page}")
        return SIGTERM_CODE if found.status == "STOPPED" else 0


async def _each_piece(client: JobSubmissionClient, name: str, take: Callable[[str], None]) -> None:
    """A job's log from its beginning, in the pieces in which it comes."""
    async for text in client.tail_job_logs(name):
        take(text)


def shipped(folder: Path) -> dict[Path, int]:
    """Files of a working directory that travel with a job, with their bytes: what no .gitignore or .rayignore leaves out."""
    found: dict[Path, int] = {}

    def take(path: Path) -> None:
        if path.is_file():
            found[path.relative_to(folder)] = path.stat().st_size

    left_out = [packaging._get_excludes(folder, get_runtime_env_default_excludes())]
    # Ray tells each file that it reads these from.
    logger = logging.getLogger(f"{__name__}.quiet")
    logger.setLevel(logging.ERROR)
    packaging._dir_travel(folder, left_out, take, include_gitignore=True, logger=logger)
    return found


def require_small(folder: Path) -> None:
    """Raises InputError where a working directory is larger than Ray takes, with its largest files."""
    sizes = shipped(folder)
    total, limit = sum(sizes.values()), packaging.GCS_STORAGE_MAX_SIZE
    if total < limit:
        return
    largest = sorted(sizes, key=lambda path: -sizes[path])[:3]
    named = ", ".join(f"{path} ({sizes[path] / 2**20:,.0f} MiB)" for path in largest)
    raise InputError(
        f"the working directory '{folder}' holds {total / 2**20:,.0f} MiB, and Ray takes at most {limit / 2**20:,.0f} MiB; the "
        f"largest: {named}. Name what no job needs in a file .rayignore there; keep data on storage that the cluster reads"
    )


def _first(said: object) -> str:
    lines = [line for line in str(said or "no reason was told").splitlines() if line.strip()]
    return lines[0] if len(lines) < 2 else f"{lines[0]} … {lines[-1].strip()}"
