"""A process whose cluster is gone for good ends with one message; another goes on."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

SCRIPT = """
import sys, time
from lstm_ray.on_ray import lost
lost.LOOK_SECONDS = 0.05
began = time.monotonic()
lost.watch(sys.argv[1], lambda: time.monotonic() - began < float(sys.argv[2]), 0.5)
print("watching", flush=True)
time.sleep(float(sys.argv[3]))
print("done")
"""


def watching(port: int, joined_seconds: float, work_seconds: float) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", SCRIPT, f"127.0.0.1:{port}", str(joined_seconds), str(work_seconds)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "watching\n"
    return process


def test_a_process_whose_head_is_gone_says_so_once_and_ends():
    with socket.create_server(("127.0.0.1", 0)) as head:
        process = watching(head.getsockname()[1], 600, 600)
        time.sleep(1)
        assert process.poll() is None, "a head that answers is not lost"
    out, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert out == ""
    assert told.count("error:") == 1
    assert "the cluster is lost" in told
    assert "the same command" in told
    assert "Traceback" not in told


def test_who_has_left_a_cluster_does_not_end_with_it():
    with socket.create_server(("127.0.0.1", 0)) as head:
        port = head.getsockname()[1]
    process = watching(port, 0.1, 1.5)
    assert process.communicate(timeout=60) == ("done\n", "")
    assert process.returncode == 0
