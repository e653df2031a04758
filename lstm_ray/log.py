"""Structured log: what is said, as a line of JSON with its run, stage and process, beside the words for people.

A stage's lines go to ``STAGE/log.jsonl``, those of a killed attempt too; with LSTM_RAY_LOG=json they also go to stderr, in
place of the words. A process that works for a run elsewhere joins it, and its lines go to its own stderr, which Ray keeps.
Knows neither Ray nor who reads. No line holds values of the data or secrets: say counts, names of parts and durations.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from lstm_ray.errors import InputError

FILE = "log.jsonl"
RUN_FILE = "run.json"
"""In a run directory: what all of its lines name it by, however often it is run."""
STYLE, RUN = "LSTM_RAY_LOG", "LSTM_RAY_RUN"
LOGGER = "lstm_ray"
Level = Literal["info", "warning", "error"]
Fact = str | int | float | bool | None

_context: dict[str, Fact] = {}
"""Of this process: its run and stage, and where it works for another process its rank or actor."""


def say(message: str, level: Level = "info", **facts: Fact) -> None:
    """A line for whoever reads logs; where nobody asked for one, nothing."""
    logger = logging.getLogger(LOGGER)
    if logger.hasHandlers():
        logger.log(getattr(logging, level.upper()), message, extra={"facts": facts})


def is_json() -> bool:
    """Is stderr for programs?

    Raises InputError where the variable says something else than that, or nothing.
    """
    style = os.environ.get(STYLE, "")
    if style not in ("", "json"):
        raise InputError(f"{STYLE}='{style}' is unknown; say {STYLE}=json for lines of JSON, or unset it for words")
    return style == "json"


def context() -> dict[str, Fact]:
    """What another process joins, to work for the same run and stage."""
    return dict(_context)


def environment() -> dict[str, str]:
    """Variables of a process that is started to work for this one."""
    run = _context.get("run")
    return {RUN: str(run)} if run else {}


def join(given: Mapping[str, Fact], **more: Fact) -> None:
    """Write this process's lines to its stderr, with the context of who gave it work.

    Args:
        more: what this process alone is, such as its rank.
    """
    _context.clear()
    _context.update(given, **more)
    if not _is_on_stderr():
        _listen(_Stderr())
    # Lines are whole as they are; Ray has a handler of its own on the root of its workers.
    logging.getLogger(LOGGER).propagate = False


@contextmanager
def of_run(run_id: str) -> Iterator[None]:
    """Lines of the block are of this run; with LSTM_RAY_LOG=json they go to stderr."""
    with _within(run=run_id), _listening(*([_Stderr()] if is_json() else [])):
        yield


@contextmanager
def of_stage(stage: str, folder: Path) -> Iterator[None]:
    """Lines of the block are of this stage, and are added to the log in its folder."""
    handler = _File(folder / FILE)
    with _within(stage=stage), _listening(handler):
        yield


def new_id() -> str:
    return uuid4().hex[:12]


@contextmanager
def _within(**facts: Fact) -> Iterator[None]:
    before = dict(_context)
    _context.update(facts)
    try:
        yield
    finally:
        _context.clear()
        _context.update(before)


@contextmanager
def _listening(*handlers: logging.Handler) -> Iterator[None]:
    """Lines of the block go there, too."""
    logger = logging.getLogger(LOGGER)
    # Runs may be nested, and stderr be listened to already.
    added = [new for new in handlers if not (isinstance(new, _Stderr) and _is_on_stderr())]
    for handler in added:
        _listen(handler)
    try:
        yield
    finally:
        for handler in added:
            logger.removeHandler(handler)
            handler.close()


def _is_on_stderr() -> bool:
    return any(isinstance(other, _Stderr) for other in logging.getLogger(LOGGER).handlers)


def _listen(handler: logging.Handler) -> None:
    logger = logging.getLogger(LOGGER)
    handler.setFormatter(_Lines())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


class _Stderr(logging.Handler):
    """Stderr as it is when a line is written."""

    def emit(self, record: logging.LogRecord) -> None:
        # One call, so that lines of several writers do not mix.
        sys.stderr.write(self.format(record) + "\n")
        sys.stderr.flush()


class _File(logging.Handler):
    """Adds each line to a file as it is said: a process that is killed leaves all but its last."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def emit(self, record: logging.LogRecord) -> None:
        # Where a disk is full the work itself says so, once.
        with suppress(OSError), open(self._file, "a", encoding="utf-8") as file:
            file.write(self.format(record) + "\n")


class _Lines(logging.Formatter):
    """A record as a line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "run": os.environ.get(RUN),
            "stage": None,
            "node": socket.gethostname(),
            "pid": record.process,
            **_context,
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)
