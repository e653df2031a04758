"""Folders that are replaced whole where nothing can be renamed. Knows objects and names; nothing of stages.

``.work/NAME.json`` tells of the folder ``NAME``: its version, and while a new one is being put in place (``pending``) where
each of its files lies meanwhile. Writing that one object is the moment from which readers see the new folder, through it;
then the files are copied into place on the server, those of before removed, and ``pending`` is dropped. Whoever writes next
finishes what a killed writer left. A reader whose root lies inside such a folder does not follow it.

Work is under way in ``.work/WORKED/ATTEMPT``, by names that sort as they began: each process has a folder of its own, writes
no object twice, and removes none of a later attempt's. So one that wakes after another has gone on finds nothing to harm.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar
from uuid import uuid4

from pyarrow import fs
from pydantic import BaseModel

from lstm_ray.errors import InputError
from lstm_ray.storage.objects import Objects, Stored

T = TypeVar("T")
WORK, MANIFEST = ".work", "manifest.json"
ATTEMPT = re.compile(r"\d{6}-[0-9a-f]{8}")
TRIES = 20
"""How often a reader begins anew where a folder is replaced under its hands."""


class Standing(BaseModel):
    """What there is to know of a folder."""

    version: str = ""
    pending: dict[str, Stored] | None = None
    """The files by path in the folder, as they lie meanwhile."""


class Found(NamedTuple):
    """A file below a folder, now."""

    at: str
    told: str
    """What tells its content from what another writing left there, as far as storage knows."""
    stored: Stored | None = None


class Folders:
    """The folders below a root. Paths are relative to it."""

    def __init__(self, objects: Objects, root: str) -> None:
        self._objects, self._root = objects, root.rstrip("/")

    def at(self, path: str) -> str:
        return f"{self._root}/{path}".rstrip("/")

    def standing(self, path: str) -> Standing:
        """Of the folder that holds the path. Files of the root itself have an ending, and are in no folder."""
        name = path.strip("/").partition("/")[0]
        if not name or "." in name:
            return Standing()
        try:
            return self._objects.read_as(self.at(f"{WORK}/{name}.json"), Standing)
        except FileNotFoundError:
            return Standing()

    def exists(self, path: str) -> bool:
        pending = self.standing(path).pending
        if pending is None:
            return self._objects.kind(self.at(path)) != fs.FileType.NotFound
        inside = path.strip("/").partition("/")[2]
        return not inside or inside in pending or any(file.startswith(f"{inside}/") for file in pending)

    def read(self, path: str) -> bytes:
        """Raises FileNotFoundError where the file is not there."""
        return self._settled(path, lambda standing: self._objects.read(self.place(path, standing)))

    def place(self, path: str, standing: Standing | None = None) -> str:
        """Where the file lies now. Raises FileNotFoundError where a pending folder has none of that name."""
        standing = standing or self.standing(path)
        if standing.pending is None:
            return self.at(path)
        try:
            return self.at(standing.pending[path.strip("/").partition("/")[2]].at)
        except KeyError:
            raise FileNotFoundError(path) from None

    def listing(self, path: str) -> dict[str, Found]:
        """By path below the root, the files below a folder."""
        pending = self.standing(path).pending
        if pending is not None:
            name, _, inside = path.strip("/").partition("/")
            below = f"{inside}/" if inside else ""
            return {
                f"{name}/{file}": Found(self.at(stored.at), stored.sha256, stored)
                for file, stored in pending.items()
                if file.startswith(below)
            }
        found = {
            info.path.removeprefix(self._root).lstrip("/"): Found(info.path, f"{info.size} {info.mtime_ns}")
            for info in self._objects.listing(self.at(path))
        }
        if path.strip("/"):
            return found
        found = {file: where for file, where in found.items() if not file.startswith(f"{WORK}/")}
        for name in sorted({file.partition("/")[0] for file in found if "/" in file}):
            if self.standing(name).pending is not None:
                found = {file: where for file, where in found.items() if not file.startswith(f"{name}/")}
                found |= self.listing(name)
        return found

    def download(self, path: str, into: Callable[[str], Path]) -> Path:
        """The files below a folder as one version of it holds them. Raises FileNotFoundError where storage lost one.

        Args:
            into: where to, of what tells one content of the folder from another; a folder that is there is taken as it is.
        """

        def work(standing: Standing) -> Path:
            files, marks = self.listing(path), self._marks(path)
            target = into(f"{standing.version} {marks} {sorted((file, found.told) for file, found in files.items())}")
            if target.exists():
                return target
            half = target.with_name(f"{target.name}.{uuid4().hex[:8]}.half")
            half.mkdir(parents=True)
            prefix = f"{path.strip('/')}/" if path.strip("/") else ""
            self._objects.each(
                lambda item: self._objects.download(item[1].at, half / item[0].removeprefix(prefix), item[1].stored),
                files.items(),
            )
            if (self.standing(path), self._marks(path), self.listing(path)) != (standing, marks, files):
                raise ReplacedError(path)
            half.rename(target)
            return target

        return self._settled(path, work)

    def touch(self, path: str) -> None:
        """Tell that something was written into the folder that holds the path: times of storage may be whole seconds."""
        name = path.strip("/").partition("/")[0]
        if "/" in path.strip("/") and "." not in name:
            self._objects.write(self.at(f"{WORK}/{name}.touched"), uuid4().hex.encode())

    def _marks(self, path: str) -> list[tuple[str, str]]:
        """What ``touch`` left of the folder that holds the path, or of all."""
        name = path.strip("/").partition("/")[0]
        found = self._objects.listing(self.at(WORK)) if not name else []
        ends = [info.path for info in found if info.path.endswith(".touched")]
        marks = []
        for mark in ends if not name else [self.at(f"{WORK}/{name}.touched")]:
            with suppress(FileNotFoundError):
                marks.append((mark, self._objects.read(mark).decode()))
        return marks

    def commit(self, name: str, files: Mapping[str, Stored], require: Callable[[], None] = lambda: None) -> None:
        """Replace the folder by files that lie elsewhere below the root. A kill before this has changed nothing.

        Args:
            require: raises where this process may write here no more.
        """
        there = {info.path: info.size for where in _attempts(files) for info in self._objects.listing(self.at(where))}
        for file, stored in files.items():
            self._objects.require_copyable(f"{name}/{file}", stored.size)
            if there.get(self.at(stored.at)) != stored.size:
                raise InputError(f"storage lost '{stored.at}' of the run directory; give the same command again")
        require()
        self._write(name, Standing(version=uuid4().hex, pending=dict(files)))
        self.finish(name, require)

    def finish(self, path: str, require: Callable[[], None] = lambda: None) -> None:
        """Put the folder that holds the path in its place; nothing where it is not pending. Others may have replaced it
        meanwhile: what they brought is let be."""
        name = path.strip("/").partition("/")[0]
        standing = self.standing(name)
        pending = standing.pending
        if pending is None:
            return
        before = [info.path for info in self._objects.listing(self.at(name))]
        try:
            self._objects.each(
                lambda item: self._objects.copy(self.at(item[1].at), self.at(f"{name}/{item[0]}")), pending.items()
            )
        except FileNotFoundError:
            if self.standing(name) == standing:
                raise InputError(
                    f"storage lost what was to become '{name}' of the run directory; remove '{self.at(WORK)}/{name}.json', "
                    f"then run '{name}' again with --force"
                ) from None
            return  # another has finished it
        wanted = {self.at(f"{name}/{file}") for file in pending}
        if self._still(name, standing, require):
            self._objects.each(self._objects.delete, [path for path in before if path not in wanted])
            done = [where for mine in _attempts(pending) for where in self._up_to(mine)]
            # Without its manifest it is no work that a run of the same stage, forced, would go on with.
            self._objects.each(self._objects.delete, [self.at(f"{where}/{MANIFEST}") for where in done])
            if self._still(name, standing, require):
                self._write(name, Standing(version=standing.version))
                self.clear(done)

    def _still(self, name: str, standing: Standing, require: Callable[[], None]) -> bool:
        require()
        return self.standing(name) == standing

    def attempts(self, worked: str) -> list[str]:
        """The attempts at what ``.work`` holds of this name, as they began, as folders below the root."""
        start = self.at(f"{WORK}/{worked}") + "/"
        found = {info.path.removeprefix(start).partition("/")[0] for info in self._objects.listing(start.rstrip("/"))}
        return [f"{WORK}/{worked}/{attempt}" for attempt in sorted(found) if ATTEMPT.fullmatch(attempt)]

    def _up_to(self, attempt: str) -> list[str]:
        return [where for where in self.attempts(attempt.split("/")[1]) if where <= attempt]

    def clear(self, folders: Iterable[str]) -> None:
        """Remove folders of what was worked on: their manifests first, without which the rest is nothing."""
        for folder in map(self.at, folders):
            for info in self._objects.listing(folder):
                if info.path.endswith(f"/{MANIFEST}"):
                    self._objects.delete(info.path)
            self._objects.delete_folder(folder)

    def worked_on(self, name: str) -> list[str]:
        """The folders of ``.work``, below the root, that hold what is to become the folder of this name."""
        start = self.at(WORK) + "/"
        found = {info.path.removeprefix(start).partition("/")[0] for info in self._objects.listing(self.at(WORK))}
        return sorted(f"{WORK}/{folder}" for folder in found if folder.startswith(f"{name}-"))

    def _write(self, name: str, standing: Standing) -> None:
        self._objects.write(self.at(f"{WORK}/{name}.json"), standing.model_dump_json().encode())

    def _settled(self, path: str, work: Callable[[Standing], T]) -> T:
        """The work's answer where the folder was the same after it as before."""
        for _ in range(TRIES):
            standing, missing = self.standing(path), None
            try:
                answer = work(standing)
            except FileNotFoundError as error:
                missing = error
            if self.standing(path) == standing and not isinstance(missing, ReplacedError):
                if missing is not None:
                    raise missing
                return answer
        raise InputError(f"'{path}' of the run directory is replaced again and again; wait for what writes it")


class ReplacedError(FileNotFoundError):
    """A folder was written to while it was read."""


def _attempts(files: Mapping[str, Stored]) -> set[str]:
    """The folders of attempts, ``.work/WORKED/ATTEMPT``, in which these files lie."""
    return {"/".join(stored.at.split("/")[:3]) for stored in files.values()}
