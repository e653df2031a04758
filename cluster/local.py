"""A Ray cluster of several nodes on this machine, its job server on loopback, with a token: for demos and tests.

    python cluster/local.py --nodes 2

Prints how to submit a job and how to watch over it, and stays until Ctrl-C. Only the processes it started are ended.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from contextlib import suppress

from lstm_ray.errors import InputError
from lstm_ray.on_ray.nodes import Nodes, running


def main() -> None:
    given = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    token = os.environ.get("RAY_AUTH_TOKEN")
    try:
        with (
            suppress(KeyboardInterrupt),
            running(given.nodes, given.cpus, given.port, given.dashboard_port, token) as nodes,
        ):
            print(words(nodes, given.nodes, given.cpus), flush=True)
            signal.pause()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def arguments() -> argparse.Namespace:
    """Of the command line, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=2, help="nodes, the head included (default 2)")
    parser.add_argument("--cpus", type=float, default=1, help="CPUs that each node offers (default 1)")
    parser.add_argument("--port", type=int, default=6379, help="the head's port; 0: any free one (default 6379)")
    parser.add_argument(
        "--dashboard-port", type=int, default=8265, help="the job server's port; 0: any free one (default 8265)"
    )
    given = parser.parse_args()
    if given.nodes < 1:
        parser.error(f"--nodes {given.nodes}: give at least 1, the head")
    if given.cpus < 0:
        parser.error(f"--cpus {given.cpus:g}: give 0 or more")
    return given


def words(nodes: Nodes, number: int, cpus: float) -> str:
    """What to type in another terminal."""
    cluster = f"1 node of {cpus:g} CPUs is up" if number == 1 else f"{number} nodes of {cpus:g} CPUs are up"
    return (
        f"{cluster}. In another terminal:\n\n"
        f"export RAY_AUTH_MODE=token RAY_AUTH_TOKEN={nodes.token}\n"
        f'lstm-ray submit run configs/quickstart.yaml --address {nodes.jobs} --run-dir "$PWD/runs/job"\n'
        f"lstm-ray doctor --address {nodes.address}\n\n"
        f"For Prometheus, in the job 'ray' of cluster/prometheus/prometheus.yml: files: [{nodes.targets}]\n"
        "Ctrl-C ends the cluster."
    )


if __name__ == "__main__":
    main()
