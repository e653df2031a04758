"""Functions called in a fresh Python process: its memory, threads and devices are its own. Knows nothing of what they do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
WATCH_SECONDS = 0.2
CALL = (
    "import importlib, json, sys\n"
    "module, function = sys.argv[1].split(':')\n"
    "found = getattr(importlib.import_module(module), function)(**json.loads(sys.argv[2]))\n"
    "print(json.dumps(found), flush=True)\n"
)


def call(function: str, *, gpu: bool = False, environment: Mapping[str, str] | None = None, **arguments: Any) -> Any:
    """What ``module:function`` returns (plain values, as its arguments) when called in a new process with one thread.

    Args:
        gpu: leave CUDA devices visible to it.
        environment: added to this process's.

    Raises:
        RuntimeError: it failed; its traceback is on stderr.
    """
    own = {"OMP_NUM_THREADS": "1"} | ({} if gpu else {"CUDA_VISIBLE_DEVICES": ""}) | dict(environment or {})
    with _started(function, own, arguments) as process:
        return _answer(function, process)


def watched(function: str, *, python: Path | None = None, **arguments: Any) -> tuple[Any, int]:
    """What a function returns in a new process with all its threads, and the most memory, in bytes, that this process or one
    that it started has held at once, shared pages included (Linux's VmHWM, read five times a second).

    Args:
        python: of another environment; none: this one.
    """
    peaks: dict[int, int] = {}
    with _started(function, {"CUDA_VISIBLE_DEVICES": ""}, arguments, python) as process:
        over = threading.Event()

        def watch() -> None:
            while True:
                for pid in family(process.pid):
                    peaks[pid] = max(peaks.get(pid, 0), peak_bytes(pid))
                if over.wait(WATCH_SECONDS):
                    break

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            found = _answer(function, process)
        finally:
            over.set()
            watcher.join()
    return found, max(peaks.values())


@contextmanager
def beside(function: str, **arguments: Any) -> Iterator[subprocess.Popen[str]]:
    """A function that runs in a new process with one thread until the block ends, and is ended there."""
    with _started(function, {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}, arguments) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.communicate()


def peak_bytes(pid: int | None = None) -> int:
    """A process's high-water mark (none: this one's); 0 where it is gone. ``resource.getrusage`` would count the process
    that started it, too."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid or 'self'}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _started(
    function: str, environment: dict[str, str], arguments: dict[str, Any], python: Path | None = None
) -> subprocess.Popen[str]:
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [str(python or sys.executable), "-c", CALL, function, json.dumps(arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | environment | {"PYTHONPATH": paths}
    )


def _answer(function: str, process: subprocess.Popen[str]) -> Any:
    said, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{function} ended with exit code {process.returncode}; see the messages above")
    return json.loads(said.splitlines()[-1])


def family(pid: int) -> list[int]:
    """A process and all that it and they have started."""
    found = [pid]
    for parent in found:
        with suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return found
