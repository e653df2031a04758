"""The fast proxy's files, and the proxy that a killed server leaves: a process of its own, which would hold the port for ever
and answer nothing well. Reads /proc; where there is none, nothing is found."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

PROXY_FILES = {
    "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": "haproxy.cfg",
    "RAY_SERVE_HAPROXY_SOCKET_PATH": "admin.sock",
    "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": "metrics.sock",
    "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": "",
    "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": "server-state",
}
"""Its files. Serve opens the socket that commands the proxy to everyone who can reach it, so the folder must be closed."""
SOCKETS = "/tmp"
"""A socket's path has 107 bytes, of which Serve needs most: TMPDIR may be too long."""
PREFIX = "lstm-ray-"
"""Of the folder of a proxy's configuration."""
END_SECONDS = 5.0


def end_proxy(host: str, port: int, processes: Path = Path("/proc")) -> None:
    """End this user's proxies of that address whose server is gone."""
    for process in processes.glob("[0-9]*"):
        # A process may end while it is looked at.
        with suppress(OSError, ValueError, IndexError):
            if process.stat().st_uid == os.getuid() and _is_left(process, f"{host}:{port}"):
                os.kill(int(process.name), signal.SIGTERM)
                deadline = time.monotonic() + END_SECONDS
                while process.exists() and time.monotonic() < deadline:
                    time.sleep(0.05)


def _is_left(process: Path, address: str) -> bool:
    words = (process / "cmdline").read_text(errors="replace").split("\0")
    if Path(words[0]).name != "haproxy" or "-f" not in words:
        return False
    config = Path(words[words.index("-f") + 1])
    parent = process.parent / _parent(process) / "cmdline"
    # Ray's processes are called so; one whose parent has died belongs to whoever takes in orphans.
    ours = any(part.startswith(PREFIX) for part in config.parts)
    return ours and not parent.read_bytes().startswith(b"ray::") and _binds(config, address)


def _parent(process: Path) -> str:
    # After the name in brackets, which may hold anything: the state, and the parent.
    return (process / "stat").read_text(errors="replace").rpartition(")")[2].split()[1]


def _binds(config: Path, address: str) -> bool:
    lines = [line.split() for line in config.read_text(encoding="utf-8").splitlines()]
    return any(line[:2] == ["bind", address] for line in lines)
