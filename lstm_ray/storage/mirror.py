"""A folder in which work is under way, kept in storage too, so that it goes on from another machine. Knows files, no stages.

Every few seconds all files are held by hard links, as a kill at that moment would leave them; those that changed are sent
under names of their own, and one manifest, written last, tells which of them the folder held. So what another machine takes
over is never half of one moment and half of another.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from pydantic import BaseModel

from lstm_ray.errors import InputError
from lstm_ray.storage.objects import Objects
from lstm_ray.storage.staging import WORK, Folders

SECONDS = 5.0
"""Between two looks at the folder: what a machine that is lost takes with it at most, beside the time to send it."""
MANIFEST, NONE = "manifest.json", "none"
Seen = tuple[int, int, int]
"""Of a file: its inode, size in bytes and time of change in ns."""
log = logging.getLogger(__name__)


class Kept(BaseModel):
    """One moment of the folder."""

    id: str
    files: dict[str, str]
    """By path, the object that holds it, relative to the run directory."""


class Mirror:
    """Of one local folder, which is made where it is not there."""

    def __init__(self, objects: Objects, folders: Folders, work: Path) -> None:
        self._objects, self._folders, self._work = objects, folders, work
        self._at = f"{WORK}/{work.name}"
        self._mark = work.with_name(f".{work.name}.mark")
        """Which moments this machine sent last: where storage holds another, the local folder is older than that."""
        self._last = NONE
        self._sent: dict[str, tuple[str, Seen]] = {}
        self._busy = threading.Lock()

    def restore(self) -> None:
        """Take over what another machine left; keep what this one left, which is never older than what it sent."""
        try:
            kept = Kept.model_validate_json(self._objects.read(self._folders.at(f"{self._at}/{MANIFEST}")))
        except FileNotFoundError:
            kept = None
        mark = self._mark.read_text().split() if self._mark.exists() else [NONE]
        if (kept.id if kept else NONE) not in mark:
            shutil.rmtree(self._work, ignore_errors=True)
            self._mark.unlink(missing_ok=True)
            if kept is not None:
                self._take(kept)
        elif kept is not None:
            self._last = kept.id
        self._work.mkdir(parents=True, exist_ok=True)

    def _take(self, kept: Kept) -> None:
        half = self._work.with_name(f".{self._work.name}.half")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        self._objects.each(
            lambda item: self._objects.download(self._folders.at(item[1]), half / item[0]), kept.files.items()
        )
        half.rename(self._work)
        self._tell(kept.id)
        self._sent = {path: (kept.files[path], seen) for path, seen in _scan(self._work).items()}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send in the background while the block runs, and once more where it ends by an error."""
        ended = threading.Event()

        def watch() -> None:
            failed = False
            while not ended.wait(SECONDS):
                try:
                    self.send()
                    failed = False
                except (OSError, InputError) as error:
                    if not failed:
                        log.warning("the work is not kept in storage for now: %s", error)
                    failed = True

        thread = threading.Thread(target=watch, daemon=True, name="lstm-ray-mirror")
        thread.start()
        try:
            yield
        except BaseException:
            ended.set()
            with suppress(OSError, InputError):
                self.send()
            raise
        finally:
            ended.set()
            thread.join()

    def send(self) -> dict[str, str]:
        """Bring storage to what the folder holds; the files with where they lie."""
        with self._busy:
            links = self._work.with_name(f".{self._work.name}.links")
            try:
                seen, held = self._hold(links)
                self._send(seen, held)
            finally:
                shutil.rmtree(links, ignore_errors=True)
            return {path: where for path, (where, _) in self._sent.items()}

    def _hold(self, links: Path) -> tuple[dict[str, Seen], dict[str, Path]]:
        """All files of one moment, and links to those that storage lacks."""
        while True:
            shutil.rmtree(links, ignore_errors=True)
            links.mkdir(parents=True)
            seen = _scan(self._work)
            changed = [path for path, now in seen.items() if path not in self._sent or self._sent[path][1] != now]
            held = {path: links / str(number) for number, path in enumerate(changed)}
            try:
                for path, link in held.items():
                    os.link(self._work / path, link)
            except FileNotFoundError:
                continue
            # A file that grows stays the same file; one that is replaced, made or removed between is another moment.
            if {path: now[0] for path, now in seen.items()} == {
                path: now[0] for path, now in _scan(self._work).items()
            }:
                return seen, held

    def _send(self, seen: dict[str, Seen], held: dict[str, Path]) -> None:
        if not held and seen.keys() == self._sent.keys():
            return
        made = {path: f"{self._at}/{path}.{uuid4().hex[:8]}" for path in held}
        self._objects.each(
            lambda path: self._objects.upload(held[path], self._folders.at(made[path]), seen[path][1]), held
        )
        before = {where for where, _ in self._sent.values()}
        now = {path: (made[path] if path in made else self._sent[path][0], seen[path]) for path in seen}
        kept = Kept(id=uuid4().hex, files={path: where for path, (where, _) in now.items()})
        # Killed before the next line ends, storage holds the moment before or this one: both are this machine's.
        self._mark.write_text(f"{self._last} {kept.id}")
        self._objects.write(self._folders.at(f"{self._at}/{MANIFEST}"), kept.model_dump_json().encode())
        self._tell(kept.id)
        self._sent = now
        self._objects.each(
            lambda where: self._objects.delete(self._folders.at(where)), before - {where for where, _ in now.values()}
        )

    def _tell(self, moment: str) -> None:
        self._mark.write_text(moment)
        self._last = moment

    def end(self) -> None:
        """Leave nothing on this machine."""
        shutil.rmtree(self._work)
        self._mark.unlink(missing_ok=True)


def _scan(folder: Path) -> dict[str, Seen]:
    """Every whole file: what is being written elsewhere to be moved into place is none."""
    found: dict[str, Seen] = {}
    for where, _, names in os.walk(folder):
        for name in names:
            file = Path(where, name)
            with suppress(FileNotFoundError):
                told = file.lstat()
                if file.is_file() and not file.is_symlink() and not name.endswith(".tmp"):
                    found[file.relative_to(folder).as_posix()] = (told.st_ino, told.st_size, told.st_mtime_ns)
    return found
