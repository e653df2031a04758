"""One challenger's attempt on disk: how far it came, by which a retrainer that was killed goes on. Knows no policies.

``RUN/retrain/0001/`` is a run directory with ``state.json`` beside: the file is replaced as a whole once a step is done, so
that a step which was cut off is done again, from what it left behind.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from lstm_ray.errors import InputError
from lstm_ray.registry.account import read
from lstm_ray.registry.folder import at
from lstm_ray.retrain import disk
from lstm_ray.retrain.derived import Pace
from lstm_ray.retrain.joined import Joined

RETRAIN, STATE, CLOCK, LOCK = "retrain", "state.json", "clock.json", "lock"
Step = Literal["asked", "joined", "trained", "judged", "ended"]
STEPS: tuple[Step, ...] = ("asked", "joined", "trained", "judged", "ended")
"""What was done last, in order."""
TABLE, CHAMPION, BUNDLE, CONFIG = "table", "champion", "policy", "challenger.json"
"""In an attempt's folder: the joined table, the champion that it starts from and is judged by, its own bundle and config."""


class State(BaseModel):
    """How far an attempt came."""

    model_config = ConfigDict(extra="forbid")

    number: int
    step: Step = "asked"
    reasons: list[str]
    """What asked for it."""
    data: list[str] = []
    """Files that were named."""
    overrides: list[str] = []
    """Of the section retrain, as on a command line."""
    champion: str
    """Version of the policy that was champion then."""
    origin: str | None = None
    """Name of the attempt that the champion is from; None: the run itself."""
    sequence: int = 0
    """Of the newest change in the server's rows then."""
    pace: Pace
    joined: Joined | None = None
    challenger: str = ""
    """Its version, once it is bundled."""
    verdict: dict[str, Any] | None = None
    promoted: bool = False
    why: str = ""
    """Why it ended without a verdict, or against it."""
    failures: int = 0
    """How often the step after this one failed, in a row."""
    seconds: dict[str, float] = {}
    """By step."""

    @property
    def name(self) -> str:
        return f"{self.number:04d}"


class Clock(BaseModel):
    """When the last attempt ended, as ``live.clock.Age`` measures it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    age: float
    wall: float
    ended: float | None = None
    """Age at which it did; None: there was none."""


def folder_of(run: Path) -> Path:
    return run / RETRAIN


def attempts(folder: Path) -> list[State]:
    """All of a run, oldest first. Raises InputError where one's state is damaged."""
    found = sorted(path for path in folder.glob("*") if re.fullmatch(r"\d{4,}", path.name))
    return [disk.read(path / STATE, State) for path in found if (path / STATE).exists()]


def keep(folder: Path, state: State) -> None:
    """Write down how far it came. Raises OSError, as of a full disk."""
    at = folder / state.name
    at.mkdir(parents=True, exist_ok=True)
    disk.write(at / STATE, state)


def tidy(run: Path) -> None:
    """Remove the tables of attempts that nothing goes on from: neither the newest, nor that of a policy which is served, or
    was before. Their reports and policies stay."""
    folder, account = folder_of(run), read(at(run))
    named = account.aliases() if account is not None else {}
    spared = {version for alias, version in named.items() if alias != "challenger"}
    for one in attempts(folder)[:-1]:
        if one.challenger not in spared:
            for name in (TABLE, "preprocess"):
                shutil.rmtree(folder / one.name / name, ignore_errors=True)


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Refuse a second retrainer of a run; the lock dies with its process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_WRONLY | os.O_CREAT, 0o600)
    except OSError as error:
        raise InputError(
            f"'{folder}' cannot be written: {error.strerror}; make room, or let this user write it"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise InputError(
            f"another process retrains this run: it holds '{folder / LOCK}'; wait for it, or stop it"
        ) from None
    finally:
        os.close(lock)
