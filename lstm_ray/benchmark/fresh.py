"""Functions called in a fresh Python process: its memory, threads and devices are its own. Knows nothing of what they do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CALL = (
    "import importlib, json, sys\n"
    "module, function = sys.argv[1].split(':')\n"
    "found = getattr(importlib.import_module(module), function)(**json.loads(sys.argv[2]))\n"
    "print(json.dumps(found), flush=True)\n"
)


def call(function: str, *, gpu: bool = False, **arguments: Any) -> Any:
    """What ``module:function`` returns (plain values, as its arguments) when called in a new process with one thread.

    Args:
        gpu: leave CUDA devices visible to it.

    Raises:
        RuntimeError: it failed; its traceback is on stderr.
    """
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | ({} if gpu else {"CUDA_VISIBLE_DEVICES": ""})
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", CALL, function, json.dumps(arguments)]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
    if answer.returncode:
        raise RuntimeError(f"{function} ended with exit code {answer.returncode}; see the messages above")
    return json.loads(answer.stdout.splitlines()[-1])
