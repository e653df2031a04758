"""Where this user's servers run on this machine, so that another process finds them. Knows nothing of what they serve.

A server on a Ray of its own asks for a token that only it knows. It leaves both, the address and the token, in a file that
this user alone can read, in the folder for a session's files, and takes it away when it ends.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import ray
from ray._raylet import Config  # type: ignore[attr-defined]

from lstm_ray.errors import InputError

TOKEN = "RAY_AUTH_TOKEN"


@dataclass(frozen=True)
class Server:
    """One that runs."""

    application: str
    url: str
    address: str
    """Of its Ray."""
    token: str
    """Of its Ray; empty where Ray finds one by itself."""
    pid: int
    registry: str = ""
    """Folder of the policies that it serves and served; empty where it keeps none."""


@contextmanager
def announced(application: str, url: str, registry: Path | None = None) -> Iterator[None]:
    """Let this user's other processes find the server of this one until the block ends."""
    context, pid = ray.get_runtime_context(), os.getpid()
    server = Server(application, url, context.gcs_address, os.environ.get(TOKEN, ""), pid, str(registry or ""))
    file = _folder() / f"{pid}-{application}.json"
    file.unlink(missing_ok=True)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        json.dump(asdict(server), out)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def known() -> list[Server]:
    """The servers of this user that run on this machine."""
    found = []
    for file in sorted(_folder().glob("*.json")):
        try:
            server = Server(**json.loads(file.read_text(encoding="utf-8")))
            os.kill(server.pid, 0)
        except (OSError, ValueError, TypeError):
            # Of a process that was killed, or is just ending.
            file.unlink(missing_ok=True)
            continue
        found.append(server)
    return found


def join(address: str, application: str) -> None:
    """Have Ray connect to the cluster of a server: the one at the address, else the only one of that name on this machine.

    Sets RAY_ADDRESS and, where the server has one, its token. Raises InputError where it is not clear which is meant.
    """
    address = address or os.environ.get("RAY_ADDRESS", "")
    here = [server for server in known() if server.application == application and address in ("", server.address)]
    if not address and len(here) != 1:
        several = "; ".join(f"{server.url} with --address {server.address}" for server in here)
        raise InputError(
            f"several servers run here: {several}; say which"
            if here
            else f"no server '{application}' of yours runs on this machine; start one with 'lstm-ray serve', or name its Ray "
            "cluster with --address"
        )
    os.environ["RAY_ADDRESS"] = address or here[0].address
    if here and here[0].token:
        os.environ[TOKEN], os.environ["RAY_AUTH_MODE"] = here[0].token, "token"
        # Ray read its settings when it was imported; who joins a cluster, unlike who starts one, has no token sent by default.
        Config.initialize("")


def _folder() -> Path:
    """This user's alone. Raises InputError where it is not."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(base) / "lstm-ray" if base else Path(tempfile.gettempdir()) / f"lstm-ray-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise InputError(
            f"'{folder}' cannot be made: {error.strerror}; set XDG_RUNTIME_DIR to a folder of yours"
        ) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise InputError(f"'{folder}' is open to others; remove it, or set XDG_RUNTIME_DIR to a folder of yours")
    return folder
