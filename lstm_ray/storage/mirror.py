"""A folder in which work is under way, kept in storage too, so that it goes on from another machine. Knows files, no stages.

Every few seconds all files are held by hard links, as a kill at that moment would leave them; those that changed are sent
under names of their own, and one manifest, written last, tells which of them the folder held. So what another machine takes
over is never half of one moment and half of another. Each process sends to a folder of its own (storage/staging.py): what it
takes over from another it sends again, and one that was taken over may send on without harm.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from pydantic import BaseModel

from lstm_ray.errors import InputError
from lstm_ray.storage.objects import Objects, Stored
from lstm_ray.storage.staging import MANIFEST, WORK, Folders

SECONDS = 5.0
"""Between two looks at the folder: what a machine that is lost takes with it at most, beside the time to send it."""
NONE = "none"
Seen = tuple[int, int, int]
"""Of a file: its inode, size in bytes and time of change in ns."""
log = logging.getLogger(__name__)


class Kept(BaseModel):
    """One moment of the folder."""

    id: str
    files: dict[str, Stored]
    """By path, the object that holds it."""


class Mirror:
    """Of one local folder, which is made where it is not there.

    Args:
        require: raises where this process may write to storage no more.
    """

    def __init__(
        self, objects: Objects, folders: Folders, work: Path, require: Callable[[], None] = lambda: None
    ) -> None:
        self._objects, self._folders, self._work, self._require = objects, folders, work, require
        self._earlier = folders.attempts(work.name)
        number = max((int(attempt.rpartition("/")[2].partition("-")[0]) for attempt in self._earlier), default=0) + 1
        self._at = f"{WORK}/{work.name}/{number:06d}-{uuid4().hex[:8]}"
        self._mark = work.with_name(f".{work.name}.mark")
        """Which moments this machine sent last: where storage holds another, the local folder is older than that."""
        self._last = NONE
        self._sent: dict[str, tuple[Stored, Seen]] = {}
        self._busy = threading.Lock()

    def restore(self) -> None:
        """Take over what another machine left; keep what this one left, which is never older than what it sent."""
        mark, tried = self._mark.read_text().split() if self._mark.exists() else [], list[Kept]()
        while (kept := self._newest(tried)) is not None:
            if kept.id in mark or self._take(kept):
                self._last = kept.id
                break
            log.warning("a part of the work that storage kept is gone; going on from what was kept before it")
            tried.append(kept)
        if kept is None and not tried and mark and NONE not in mark:
            # Storage had what this machine sent, and has nothing: the work became the stage, or was cleared away.
            shutil.rmtree(self._work, ignore_errors=True)
            self._mark.unlink(missing_ok=True)
        self._work.mkdir(parents=True, exist_ok=True)

    def _newest(self, tried: list[Kept]) -> Kept | None:
        """The moment of the latest attempt that has one which was not tried: one may be replaced while it is read."""
        for attempt in reversed(self._earlier):
            with suppress(FileNotFoundError):
                if (kept := self._objects.read_as(self._folders.at(f"{attempt}/{MANIFEST}"), Kept)) not in tried:
                    return kept
        return None

    def _take(self, kept: Kept) -> bool:
        """Have the local folder hold that moment; False where storage has it no more."""
        half = self._work.with_name(f".{self._work.name}.half")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        try:
            self._objects.each(
                lambda item: self._objects.download(self._folders.at(item[1].at), half / item[0], item[1]),
                kept.files.items(),
            )
        except FileNotFoundError:
            shutil.rmtree(half)
            return False
        shutil.rmtree(self._work, ignore_errors=True)
        half.rename(self._work)
        self._tell(kept.id)
        return True

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

    def send(self) -> dict[str, Stored]:
        """Bring storage to what the folder holds; the files with where they lie."""
        with self._busy:
            links = self._work.with_name(f".{self._work.name}.links")
            try:
                seen, held = self._hold(links)
                self._send(seen, held)
            finally:
                shutil.rmtree(links, ignore_errors=True)
            return {path: stored for path, (stored, _) in self._sent.items()}

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
        sent = dict(self._objects.each(lambda path: (path, self._upload(path, held[path], seen[path])), held))
        before = [stored.at for stored, _ in self._sent.values()]
        now = {path: (sent[path] if path in sent else self._sent[path][0], seen[path]) for path in seen}
        kept = Kept(id=uuid4().hex, files={path: stored for path, (stored, _) in now.items()})
        self._require()
        # Killed before the next line ends, storage holds the moment before or this one: both are this machine's.
        self._tell(f"{self._last} {kept.id}")
        self._objects.write(self._folders.at(f"{self._at}/{MANIFEST}"), kept.model_dump_json().encode())
        self._tell(kept.id)
        self._last, self._sent = kept.id, now
        still = {stored.at for stored, _ in now.values()}
        self._objects.each(self._objects.delete, [self._folders.at(at) for at in before if at not in still])
        self._folders.clear(self._earlier)
        self._earlier = []

    def _upload(self, path: str, link: Path, seen: Seen) -> Stored:
        at = f"{self._at}/{path}.{uuid4().hex[:8]}"
        size, sha256 = self._objects.upload(link, self._folders.at(at), seen[1])
        return Stored(at=at, size=size, sha256=sha256)

    def _tell(self, moments: str) -> None:
        """Whole or not at all: a disk may be full."""
        half = self._mark.with_name(f"{self._mark.name}.tmp")
        half.write_text(moments)
        half.replace(self._mark)

    def end(self) -> None:
        """Leave nothing on this machine."""
        shutil.rmtree(self._work)
        self._mark.unlink(missing_ok=True)
        with suppress(OSError):  # another stage may be at work in there
            self._work.parent.rmdir()


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
