"""A profile of one stage on demand: by torch's operators or py-spy's samples of this process, and Ray's timeline beside.

It changes no result. Torch's is bounded: after some steps of training and calls of modules it stops, and the stage goes on.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shutil import which
from typing import Any

import ray
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.profiler import ProfilerActivity, profile

from lstm_ray.errors import InputError, nearest
from lstm_ray.progress import note
from lstm_ray.run_dir import RunDir

FOLDER = "profile"
MOST_STEPS, MOST_CALLS = 100, 5000
"""Steps of an optimiser, and calls of modules of a network, after which torch's profile stops: some 50 MB."""
TOP = 10
SAMPLES_PER_SECOND = 100
END_SECONDS = 60.0
PR_SET_PTRACER = 0x59616D61
Rows = list[tuple[str, float, int]]
"""Functions or operators, the seconds spent in each itself, and how often it was called or seen."""


def require_kind(kind: str) -> None:
    """Raises InputError where there is no such profile, or what makes it is not installed."""
    if kind not in KINDS:
        raise InputError(f"--profile '{kind}' is unknown{nearest(kind, KINDS)}")
    if kind == "py-spy" and _py_spy() is None:
        raise InputError(
            "--profile py-spy needs the package 'py-spy', which is not installed; pip install 'lstm-ray[profile]'"
        )


@contextmanager
def profiled(kind: str, stage: str, run: RunDir) -> Iterator[None]:
    """Profile the block, also one that fails; leave the files in ``profile/`` of the run and say what took the time."""
    with tempfile.TemporaryDirectory() as folder:
        file, rows = Path(folder) / f"{stage}-{kind}.json", list[tuple[str, float, int]]()
        timeline, began = Path(folder) / f"{stage}-timeline.json", time.monotonic()
        try:
            with KINDS[kind](file, rows):
                yield
        finally:
            seconds = time.monotonic() - began
            _timeline(timeline)
            for made in sorted(Path(folder).glob("*.json")):
                run.write_bytes(f"{FOLDER}/{made.name}", made.read_bytes())
                note(f"profile: {run.uri}/{FOLDER}/{made.name}")
            for line in table(rows, seconds, timeline.exists()):
                note(line)


def table(rows: Rows, seconds: float, has_timeline: bool) -> list[str]:
    """The functions or operators that took the most time themselves, for a terminal, under a line that says whose time it is.

    Args:
        seconds: that the stage took.
        has_timeline: is what Ray's workers did told beside?
    """
    total = sum(spent for _, spent, _ in rows)
    if not total:
        return []
    elsewhere = "; Ray's workers are in the timeline" if has_timeline else ""
    top = sorted(rows, key=lambda row: -row[1])[:TOP]
    return [
        f"this process alone, {total:.1f} of {seconds:.1f} s{elsewhere}:",
        *(f"{spent:8.3f} s {spent / total:6.1%} {num:8,} x {name}" for name, spent, num in top if spent > 0),
    ]


@contextmanager
def _by_torch(file: Path, rows: Rows) -> Iterator[None]:
    """Operators of this thread, and of those that work for it, with kernels of a GPU where there is one."""
    # It would say on stderr that it starts and stops.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * torch.cuda.is_available()
    found = profile(activities=activities)
    try:
        with ExitStack() as running:
            found.start()
            running.callback(found.stop)
            bound = _Bound(running.close)
            running.callback(register_optimizer_step_post_hook(bound.step).remove)
            running.callback(torch.nn.modules.module.register_module_forward_hook(bound.call).remove)
            yield
    finally:
        found.export_chrome_trace(str(file))
        rows += [(row.key, row.self_cpu_time_total / 1e6, row.count) for row in found.key_averages()]


class _Bound:
    """Stops a profile once it holds enough, in the thread that started it."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop, self._thread = stop, threading.get_ident()
        self._steps = self._calls = 0

    def step(self, *given: Any) -> None:
        self._steps += 1
        self._look()

    def call(self, *given: Any) -> None:
        self._calls += 1
        self._look()

    def _look(self) -> None:
        enough = self._steps >= MOST_STEPS or self._calls >= MOST_CALLS
        if enough and threading.get_ident() == self._thread:
            self._stop()


@contextmanager
def _by_py_spy(file: Path, rows: Rows) -> Iterator[None]:
    """Samples of what all threads of this process run, as speedscope.app shows them."""
    command = [str(_py_spy()), "record", "--pid", str(os.getpid()), "--format", "speedscope", "--output", str(file)]
    spy = subprocess.Popen(
        [*command, "--rate", str(SAMPLES_PER_SECOND), "--nonblocking"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    if sys.platform == "linux":
        # A child may not look at its parent unless it is allowed to.
        ctypes.CDLL(None).prctl(PR_SET_PTRACER, spy.pid, 0, 0, 0)
    try:
        yield
    finally:
        spy.send_signal(signal.SIGINT)
        _, said = spy.communicate(timeout=END_SECONDS)
        if file.exists():
            rows += sampled(json.loads(file.read_text()))
        else:
            note(f"py-spy left no profile: {' '.join(said.split()) or 'the stage was too short'}")


def sampled(speedscope: dict[str, Any]) -> Rows:
    """Seconds by the function that was running, and in how many samples."""
    frames, seconds, num = speedscope["shared"]["frames"], Counter[str](), Counter[str]()
    for thread in speedscope["profiles"]:
        for stack, weight in zip(thread["samples"], thread["weights"], strict=True):
            if stack:
                frame = frames[stack[-1]]
                name = f"{frame['name']} ({Path(frame.get('file') or '').name}:{frame.get('line') or 0})"
                seconds[name] += weight
                num[name] += 1
    return [(name, spent, num[name]) for name, spent in seconds.items()]


def _timeline(file: Path) -> None:
    """What ran where on the cluster, where there is one, as chrome://tracing shows it."""
    if ray.is_initialized():
        # It would warn of what a later version of it will do.
        logging.getLogger("ray._private.state").setLevel(logging.ERROR)
        ray.timeline(str(file))


def _py_spy() -> str | None:
    """Beside this Python, or wherever the shell finds it."""
    beside = Path(sys.executable).parent / "py-spy"
    return str(beside) if beside.exists() else which("py-spy")


KINDS = {"torch": _by_torch, "py-spy": _by_py_spy}
