"""A folder on the driver's machine, for processes of any node: none of them needs a disk that all share. Knows no stage.

A process on the driver's own node works in the folder itself. One elsewhere works in a copy, which an actor beside the driver
fills and to which it sends back what changed: each file whole or not at all, new ones before old ones go.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lstm_ray.errors import InputError
from lstm_ray.on_ray import cluster

CHUNK_BYTES = 8 * 2**20
"""What is sent at a time: so much of a checkpoint is held in memory, however large it is."""
AT_ONCE = 4
"""Calls that the actor answers at the same time."""
INCOMING = ".incoming"
"""Below the folder: files that are not yet whole. Names that begin with a dot are nobody's business elsewhere."""
Mark = tuple[int, int, int]


@dataclass(frozen=True)
class Folder:
    """The driver's folder; it may be sent to any process of the cluster."""

    path: Path
    node: str = ""
    """Ray's id of the driver's node."""
    porter: Any = None
    """The actor beside the driver; None where every process is on its machine."""

    @contextmanager
    def opened(self, name: Path = Path()) -> Iterator[Copy]:
        """What lies below a name, until the block ends: the folder itself, or a copy of it where this is another node."""
        if self.porter is None or ray.get_runtime_context().get_node_id() == self.node:
            (self.path / name).mkdir(parents=True, exist_ok=True)
            yield Copy(self.path / name)
            return
        with tempfile.TemporaryDirectory(prefix="lstm-ray-") as temporary:
            # Under its own name, by which whoever works in it may know it.
            copy = Copy(Path(temporary, self.path.name) / name, name, self.porter)
            copy.fetch()
            yield copy


@dataclass
class Copy:
    """A folder to work in. It is for one process; where others change the driver's, it does not follow."""

    path: Path
    name: Path = Path()
    """Below the driver's folder."""
    porter: Any = None
    """None: it is the driver's own."""
    seen: dict[str, Mark] = field(default_factory=dict)
    """Files as they were when they last were the driver's, too."""

    def fetch(self) -> None:
        """Fill the copy."""
        self.path.mkdir(parents=True)
        for name, size in self._asked("files", str(self.name)).items():
            file, at = self.path / name, str(self.name / name)
            file.parent.mkdir(parents=True, exist_ok=True)
            with open(file, "wb") as stream:
                for start in range(0, size, CHUNK_BYTES):
                    stream.write(self._asked("read", at, start))
        self.seen = self._found()

    def keep(self) -> None:
        """Have the driver's folder hold what this one does now. Raises InputError where it cannot."""
        if self.porter is None:
            return
        found, parcels = self._found(), []
        for name, mark in found.items():
            if self.seen.get(name) != mark:
                parcels.append((self._sent(self.path / name), str(self.name / name)))
        gone = [str(self.name / name) for name in self.seen.keys() - found.keys()]
        if parcels or gone:
            self._asked("place", parcels, gone)
        self.seen = found

    def _sent(self, file: Path) -> str:
        """The name of a parcel that holds the file."""
        parcel, start = uuid4().hex, 0
        with open(file, "rb") as stream:
            while content := stream.read(CHUNK_BYTES):
                self._asked("write", parcel, start, content)
                start += len(content)
        if not start:
            self._asked("write", parcel, 0, b"")
        return parcel

    def _found(self) -> dict[str, Mark]:
        return {name: _mark(self.path / name) for name in _files(self.path)}

    def _asked(self, method: str, *arguments: Any) -> Any:
        return cluster.answer(getattr(self.porter, method).remote(*arguments))


class Porter:
    """Reads and writes below one folder, for processes on other nodes. Each call may be made again: its actor may be lost."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def files(self, name: str) -> dict[str, int]:
        """Size in bytes of every file below a name."""
        below, found = self._inside(name), {}
        for one in _files(below):
            with suppress(FileNotFoundError):
                found[one] = (below / one).stat().st_size
        return found

    def read(self, name: str, start: int) -> bytes:
        """At most CHUNK_BYTES of a file; none where it is gone, as one that another process just replaced may be."""
        with suppress(FileNotFoundError), open(self._inside(name), "rb") as stream:
            stream.seek(start)
            return stream.read(CHUNK_BYTES)
        return b""

    def write(self, parcel: str, start: int, content: bytes) -> None:
        """A stretch of a file that is on its way."""
        file = self._inside(f"{INCOMING}/{parcel}")
        with self._saying():
            file.parent.mkdir(exist_ok=True)
            with open(file, "r+b" if start else "wb") as stream:
                stream.seek(start)
                stream.write(content)

    def place(self, parcels: Sequence[tuple[str, str]], gone: Sequence[str]) -> None:
        """Parcels that are whole get their names, and then files go that are no more."""
        for parcel, name in parcels:
            file, to = self._inside(f"{INCOMING}/{parcel}"), self._inside(name)
            with self._saying():
                to.parent.mkdir(parents=True, exist_ok=True)
                # A call that is made again, for its actor was lost on the way back, finds it done.
                if file.exists() or not to.exists():
                    os.replace(file, to)
        for name in gone:
            file = self._inside(name)
            file.unlink(missing_ok=True)
            with suppress(OSError):  # the folder holds other files
                file.parent.rmdir()

    def _inside(self, name: str) -> Path:
        """Raises ValueError for a name that leads out of the folder."""
        found = (self.root / name).resolve()
        if PurePosixPath(name).is_absolute() or not found.is_relative_to(self.root):
            raise ValueError(f"'{name}' is not below '{self.root}'")
        return found

    @contextmanager
    def _saying(self) -> Iterator[None]:
        """Raises InputError for what the machine does not let it do."""
        try:
            yield
        except OSError as error:
            raise InputError(
                f"'{self.root}' on the machine of the command cannot be written ({error.strerror or error}); make room there, "
                "or let it be written; the same command goes on after what was kept"
            ) from None


@contextmanager
def shared(path: Path) -> Iterator[Folder]:
    """The folder for processes of the cluster that is connected, until the block ends; call it on the driver."""
    path.mkdir(parents=True, exist_ok=True)
    if not _others_may_join():
        yield Folder(path)
        return
    node = ray.get_runtime_context().get_node_id()
    shutil.rmtree(path / INCOMING, ignore_errors=True)
    porter: Any = (
        ray.remote(Porter)
        .options(
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=-1,
            max_concurrency=AT_ONCE,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        )
        .remote(path)
    )
    try:
        yield Folder(path, node, porter)
    finally:
        if ray.is_initialized():
            ray.kill(porter)
        shutil.rmtree(path / INCOMING, ignore_errors=True)


def _others_may_join() -> bool:
    """Whether there are other nodes, or might be: not in a cluster that this process started for itself."""
    joined = os.environ.get("RAY_ADDRESS", "local") not in ("", "local")
    return joined or sum(node["Alive"] for node in ray.nodes()) > 1


def _files(folder: Path) -> list[str]:
    """Names of the files below a folder, but for those that are being written."""
    found = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    return sorted(str(name) for name in found if not any(part.startswith(".") for part in name.parts))


def _mark(file: Path) -> Mark:
    found = file.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino
