"""Load made by locust in a process of its own, and its account as arrays. Knows neither Ray nor what is loaded.

Legend: M requests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from lstm_ray.errors import InputError
from lstm_ray.stress.bodies import Hostile

KINDS = ("valid", "slow", "hostile", "truths")
"""Of requests; ``truths`` are brought by the valid clients too."""
ROOT = Path(__file__).parents[2]
USERS = Path(__file__).with_name("users.py")
START_SECONDS, END_SECONDS, LOOK_SECONDS = 60.0, 20.0, 0.2
"""In which locust must have begun, and ended; and how often it is looked at."""


class LoadFailedError(RuntimeError):
    """The generator did not do its work; nothing is known of the server."""


@dataclass(frozen=True)
class Phase:
    """So many clients for so long."""

    users: int
    seconds: float


@dataclass(frozen=True)
class Clients:
    """What every load is made of."""

    url: str
    """Where a valid request goes."""
    base: str
    """Path of the server's root, without a slash at its end."""
    valid: Sequence[str]
    hostile: Sequence[Hostile]
    shares: dict[str, float]
    """Of clients, by kind."""
    token: str = ""
    truths: str = ""
    """Body of POST /v1/observations that follows each round of the valid ones; empty: none."""


@dataclass(frozen=True)
class Requests:
    """What every request of a load got. Times are seconds of this machine's monotonic clock."""

    time_M: NDArray
    """When it was answered, or given up."""
    kind_M: NDArray
    """Index into KINDS."""
    case_M: NDArray
    """Of hostile ones, index into the cases."""
    status_M: NDArray
    """0: no answer."""
    ms_M: NDArray
    away_M: NDArray
    """Turned away: 503 with Retry-After."""

    def where(self, chosen_M: NDArray) -> Requests:
        values = (self.time_M, self.kind_M, self.case_M, self.status_M, self.ms_M, self.away_M)
        return Requests(*(value[chosen_M] for value in values))

    def between(self, first: float, last: float) -> Requests:
        return self.where((self.time_M >= first) & (self.time_M < last))

    def of(self, kind: str) -> Requests:
        return self.where(self.kind_M == KINDS.index(kind))

    @property
    def answered(self) -> Requests:
        return self.where(self.status_M == 200)

    @property
    def failed(self) -> Requests:
        """Neither answered nor turned away, though they should have been."""
        return self.where((self.status_M != 200) & ~self.away_M)

    def __len__(self) -> int:
        return len(self.time_M)


@dataclass(frozen=True)
class Loaded:
    """A load and what making it took."""

    requests: Requests
    starts: list[float]
    """When each phase began, and when the last one ended."""
    cpu: list[tuple[float, float]] = field(default_factory=list)
    """(when, CPU seconds that the generator had used)."""

    def share(self, first: float, last: float) -> float | None:
        """Of one core that the generator, one thread, needed; None where that was not told."""
        told = [(when, used) for when, used in self.cpu if first <= when <= last]
        if len(told) < 2 or told[-1][0] == told[0][0]:
            return None
        return (told[-1][1] - told[0][1]) / (told[-1][0] - told[0][0])


def load(
    clients: Clients,
    phases: Sequence[Phase],
    folder: Path,
    on_look: Callable[[float], bool] = lambda passed: False,
) -> Loaded:
    """Run phases one after another.

    Args:
        folder: an empty one, of this user alone.
        on_look: called a few times a second with the seconds since the first phase began; True ends the load early.

    Raises:
        InputError: locust is not installed, or the address is none of plain HTTP.
        LoadFailedError: locust broke.
    """
    require_locust()
    at = urlsplit(clients.url)
    if at.scheme != "http" or not at.hostname:
        raise InputError(f"'{clients.url}' cannot be loaded: its address must begin with http:// and name a host")
    out, stop, told = folder / "requests.tsv", folder / "stop", folder / "task.json"
    task: dict[str, Any] = {
        "url": clients.url,
        "base": clients.base,
        "valid": list(clients.valid),
        "truths": clients.truths,
        "hostile": [case.as_dict() for case in clients.hostile],
        "shares": clients.shares,
        "phases": [{"users": phase.users, "seconds": phase.seconds} for phase in phases],
        "out": str(out),
        "stop": str(stop),
    }
    told.write_text(json.dumps(task), encoding="utf-8")
    _run(folder, told, clients, sum(phase.seconds for phase in phases), on_look)
    found = read(out.read_text(encoding="utf-8").splitlines())
    if len(found.starts) != len(phases) + 1 and not stop.exists():
        raise LoadFailedError(
            f"of {len(phases)} loads one after another {len(found.starts) - 1} began: the machine is too busy to make them, or "
            "they are too short; locust looks once a second at which one is next"
        )
    return found


def require_locust() -> None:
    """Raises InputError where it is not installed. It is looked for and not imported."""
    if find_spec("locust") is None:
        raise InputError("load is made by the package 'locust', which is not installed; pip install 'lstm-ray[stress]'")


def _run(folder: Path, told: Path, clients: Clients, seconds: float, on_look: Callable[[float], bool]) -> None:
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {
        **os.environ,
        "LSTM_RAY_STRESS": str(told),
        "LSTM_RAY_STRESS_TOKEN": clients.token,
        "PYTHONPATH": paths,
    }
    command = [
        sys.executable,
        "-m",
        "locust",
        "-f",
        str(USERS),
        "--headless",
        "--only-summary",
        "--exit-code-on-error",
        "0",
    ]
    command += ["--host", clients.url, "--loglevel", "ERROR"]
    words = folder / "locust.txt"
    with open(words, "w", encoding="utf-8") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment, cwd=folder)
        try:
            began, launched = None, time.monotonic()
            while process.poll() is None:
                time.sleep(LOOK_SECONDS)
                began = began or _began(folder / "requests.tsv")
                now = time.monotonic()
                if began is not None and on_look(now - began):
                    (folder / "stop").touch()
                if now > ((began or launched + START_SECONDS) + seconds + END_SECONDS):
                    break
        finally:
            process.kill()
            code = process.wait()
    if code != 0 or began is None:
        lines = words.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise LoadFailedError(f"locust ended with exit code {code}: {' / '.join(lines[-5:]) or 'it said nothing'}")


def _began(out: Path) -> float | None:
    """When the first phase began, once it has."""
    if not out.exists():
        return None
    with open(out, encoding="utf-8") as lines:
        first = lines.readline().split("\t")
    return float(first[0]) if len(first) > 1 and first[1] == "phase" else None


def read(lines: Sequence[str]) -> Loaded:
    """The account that ``users.py`` writes. A line that was cut off is left out."""
    starts, cpu, rows = [], [], []
    for line in lines:
        when, kind, *values = line.split("\t")
        if kind == "phase":
            starts.append(float(when))
        elif kind == "cpu":
            cpu.append((float(when), float(values[0])))
        elif kind in KINDS and len(values) == 4:
            rows.append((float(when), KINDS.index(kind), *map(float, values)))
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    requests = Requests(
        time_M=table[:, 0],
        kind_M=table[:, 1].astype(np.int64),
        case_M=table[:, 2].astype(np.int64),
        status_M=table[:, 3].astype(np.int64),
        ms_M=table[:, 4],
        away_M=table[:, 5] > 0,
    )
    return Loaded(requests, [*starts, max([*table[:, 0], *(when for when, _ in cpu), *starts], default=0.0)], cpu)
