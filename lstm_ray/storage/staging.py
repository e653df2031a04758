"""Folders that are replaced whole where nothing can be renamed. Knows objects and names; nothing of stages.

``.work/NAME.json`` tells of the folder ``NAME``: its version, and while a new one is being put in place (``pending``) where
each of its files lies meanwhile. Writing that one object is the moment from which readers see the new folder, through it;
then the files are copied into place on the server, those of before removed, and ``pending`` is dropped. Whoever writes next
finishes what a killed writer left. A reader whose root lies inside such a folder does not follow it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from pyarrow import fs
from pydantic import BaseModel, ValidationError

from lstm_ray.errors import InputError
from lstm_ray.storage.objects import Objects

T = TypeVar("T")
WORK = ".work"
TRIES = 20
"""How often a reader begins anew where a folder is replaced under its hands."""


class Standing(BaseModel):
    """What there is to know of a folder."""

    version: str = ""
    pending: dict[str, str] | None = None
    """By path in the folder, where the file lies, relative to the run directory."""


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
        for _ in range(TRIES):
            try:
                return Standing.model_validate_json(self._objects.read(self.at(f"{WORK}/{name}.json")))
            except FileNotFoundError:
                return Standing()
            except ValidationError:
                continue  # it was replaced between the question for its size and its reading
        raise InputError(f"'{WORK}/{name}.json' of the run directory is damaged; remove it and run the stage again")

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
            return self.at(standing.pending[path.strip("/").partition("/")[2]])
        except KeyError:
            raise FileNotFoundError(path) from None

    def listing(self, path: str) -> dict[str, tuple[str, int | None]]:
        """By path below the root, the files below a folder: where each lies, and when it was written."""
        pending = self.standing(path).pending
        if pending is not None:
            name, _, inside = path.strip("/").partition("/")
            below = f"{inside}/" if inside else ""
            return {
                f"{name}/{file}": (self.at(where), None) for file, where in pending.items() if file.startswith(below)
            }
        found = {
            info.path.removeprefix(self._root).lstrip("/"): (info.path, info.mtime_ns)
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
        """The files below a folder as one version of it holds them.

        Args:
            into: where to, of what tells one content of the folder from another; a folder that is there is taken as it is.
        """

        def work(standing: Standing) -> Path:
            files = self.listing(path)
            target = into(f"{standing.version} {sorted((file, when) for file, (_, when) in files.items())}")
            if target.exists():
                return target
            half = target.with_name(f"{target.name}.{uuid4().hex[:8]}.half")
            half.mkdir(parents=True)
            prefix = f"{path.strip('/')}/" if path.strip("/") else ""
            self._objects.each(
                lambda item: self._objects.download(item[1][0], half / item[0].removeprefix(prefix)), files.items()
            )
            if self.standing(path) != standing:
                raise FileNotFoundError(path)
            half.rename(target)
            return target

        return self._settled(path, work)

    def commit(self, name: str, files: dict[str, str]) -> None:
        """Replace the folder by files that lie elsewhere below the root. A kill before this has changed nothing."""
        self._write(name, Standing(version=uuid4().hex, pending=files))
        self.finish(name)

    def finish(self, path: str) -> None:
        """Put the folder that holds the path in its place; nothing where it is not pending."""
        name = path.strip("/").partition("/")[0]
        standing = self.standing(name)
        pending = standing.pending
        if pending is None:
            return
        try:
            self._objects.each(
                lambda item: self._objects.copy(self.at(item[1]), self.at(f"{name}/{item[0]}")), pending.items()
            )
        except FileNotFoundError:
            if self.standing(name) == standing:
                raise
            return  # another has finished it
        wanted = {self.at(f"{name}/{file}") for file in pending}
        gone = [info.path for info in self._objects.listing(self.at(name)) if info.path not in wanted]
        self._objects.each(self._objects.delete, gone)
        self._write(name, Standing(version=standing.version))
        self.clear({where.split("/")[1] for where in pending.values()})

    def clear(self, names: Iterable[str]) -> None:
        """Remove folders of what was worked on."""
        for name in names:
            self._objects.delete_folder(self.at(f"{WORK}/{name}"))

    def worked_on(self, name: str) -> list[str]:
        """The folders of ``.work`` that hold what is to become the folder of this name."""
        start = self.at(WORK) + "/"
        found = {info.path.removeprefix(start).partition("/")[0] for info in self._objects.listing(self.at(WORK))}
        return sorted(folder for folder in found if folder.startswith(f"{name}-"))

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
            if self.standing(path) == standing:
                if missing is not None:
                    raise missing
                return answer
        raise InputError(f"'{path}' of the run directory is replaced again and again; wait for what writes it")
