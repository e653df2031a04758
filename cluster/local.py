"""A Ray cluster of several nodes on this machine, its job server on loopback, with a token: for demos and tests.

    python cluster/local.py --nodes 2

Prints how to submit a job and stays until Ctrl-C. Only the processes it started are ended.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

RAY = str(Path(sys.executable).parent / "ray")
STARTED = "Ray runtime started"


def start(arguments: list[str], log: Path, environment: dict[str, str]) -> subprocess.Popen:
    """A node in a process group of its own, when it says that it has started."""
    with open(log, "w") as output:
        node = subprocess.Popen(
            [RAY, "start", "--block", *arguments],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    while STARTED not in log.read_text():
        if node.poll() is not None:
            sys.exit(f"a node did not start:\n{log.read_text()}")
        time.sleep(0.2)
    return node


def end(node: subprocess.Popen) -> None:
    """End a node's process group, first asking, then not."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(node.pid, sign)
        with suppress(subprocess.TimeoutExpired):
            node.wait(timeout=20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=2, help="nodes, the head included (default 2)")
    parser.add_argument("--cpus", type=int, default=1, help="CPUs that each node offers (default 1)")
    parser.add_argument("--port", type=int, default=6379, help="the head's port (default 6379)")
    parser.add_argument("--dashboard-port", type=int, default=8265, help="the job server's port (default 8265)")
    given = parser.parse_args()
    token = os.environ.get("RAY_AUTH_TOKEN") or secrets.token_hex(32)
    environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    # Jobs run `python`: let it be the one that runs this.
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    nodes: list[subprocess.Popen] = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
        try:
            shared = [f"--num-cpus={given.cpus}"]
            head = [
                "--head",
                f"--port={given.port}",
                f"--dashboard-port={given.dashboard_port}",
                f"--temp-dir={folder}",
            ]
            nodes.append(start([*head, *shared], Path(folder) / "head.log", environment))
            for number in range(1, given.nodes):
                joining = [f"--address=127.0.0.1:{given.port}", *shared]
                nodes.append(start(joining, Path(folder) / f"node-{number}.log", environment))
            print(f"{given.nodes} nodes of {given.cpus} CPUs are up. In another terminal:\n")
            print(f"export RAY_AUTH_MODE=token RAY_AUTH_TOKEN={token}")
            print(f"ray job submit --address http://127.0.0.1:{given.dashboard_port} --working-dir . -- \\")
            print('  python jobs/lifecycle.py --config configs/quickstart.yaml --run-dir "$PWD/runs/job"\n')
            print("Ctrl-C ends the cluster.", flush=True)
            signal.pause()
        except (KeyboardInterrupt, SystemExit):
            pass
        finally:
            for node in reversed(nodes):
                end(node)


if __name__ == "__main__":
    main()
