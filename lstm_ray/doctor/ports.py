"""Who listens at the ports that Ray and a policy's server use on this machine. Knows no Ray."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from lstm_ray.doctor.checks import Check, well

PORTS = {6379: "a cluster's head", 8265: "Ray's dashboard and jobs", 8000: "a policy's server", 10001: "Ray's client"}
"""What each is for, by the defaults of Ray and of the section `deploy`."""
LISTENS = "0A"
"""State of a listening socket in /proc/net/tcp."""
OWN = ("ray", "lstm-ray", "lstm_ray", "gcs_server", "raylet", "uvicorn")
"""Words in the command line of a process that is rightly there."""


def ports(wanted: Mapping[int, str] = PORTS) -> list[Check]:
    """Is each port free, or taken by Ray or a policy's server?"""
    taken = listening()
    return [_told(port, what, taken.get(port)) for port, what in wanted.items()]


def _told(port: int, what: str, inode: int | None) -> Check:
    name = f"port {port}"
    if inode is None:
        return well(name, f"free for {what}")
    pid, command = holder(inode)
    who = f"process {pid} ({command})" if pid else "a process of another user or container"
    if any(word in command for word in OWN):
        return well(name, f"{what}: taken by {who}")
    advice = f"end that process, or give {what} another port (deploy.port, `ray start --port`, --dashboard-port)"
    return Check(name, "warning", f"wanted for {what}, taken by {who}", advice)


def listening() -> dict[int, int]:
    """The ports at which a process of this machine listens, on any address, and the inode of its socket."""
    found = {}
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == LISTENS:
                found[int(fields[1].rpartition(":")[2], 16)] = int(fields[9])
    return found


def holder(inode: int) -> tuple[int, str]:
    """The process that holds a socket, and how its command line begins; 0 where it may not be known."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(file) == f"socket:[{inode}]" for file in (place / "fd").iterdir()):
                words = (place / "cmdline").read_bytes().split(b"\0")
                # Arguments may hold secrets: the program and what it runs are enough.
                return int(place.name), " ".join(word.decode(errors="replace") for word in words[:2]).strip()
        except OSError:
            continue
    return 0, ""
