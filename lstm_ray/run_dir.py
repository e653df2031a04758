"""Where stages write and read: one directory on any filesystem that pyarrow opens. Knows nothing of what stages do.

A stage works in ``.work/STAGE-FINGERPRINT`` and is renamed to ``STAGE`` when whole, so a killed run leaves nothing
half-written that anything would trust, and finds its own checkpoints again when it is started again. On object storage it
works in a local folder that is mirrored there (storage/mirror.py) and put in place whole (storage/staging.py).
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from pyarrow import fs
from pydantic import BaseModel, TypeAdapter, ValidationError

from lstm_ray.errors import InputError
from lstm_ray.figure import Figure
from lstm_ray.finding import Finding, Report
from lstm_ray.storage import faults, places, scratch
from lstm_ray.storage.lease import Lease
from lstm_ray.storage.mirror import Mirror
from lstm_ray.storage.objects import Objects
from lstm_ray.storage.staging import WORK, Folders

__all__ = ["FIGURES", "REPORT", "Finding", "Report", "RunDir", "StageDir", "digest", "to_json"]

REPORT, FIGURES = "report.json", "figures.json"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""What a system says of a disk, a quota or a file that has no room left."""
Model = TypeVar("Model", bound=BaseModel)
log = logging.getLogger(__name__)


class RunDir:
    """A run's directory. Paths are relative to it, with forward slashes.

    Args:
        uri: a local path or a URI that pyarrow opens (``s3://``, ``gs://``, ``hdfs://``), with options after a ``?`` as pyarrow
            reads them. Credentials and options are no part of ``uri`` afterwards; what is opened below it finds them.
    """

    def __init__(self, uri: str | Path) -> None:
        place = places.opened(uri)
        self.uri, self._fs, self._root = place.shown, place.filesystem, place.root
        self._key = digest([place.shown, place.store])[:16]
        self._objects = Objects(place)
        self._folders = None if isinstance(self._fs, fs.LocalFileSystem) else Folders(self._objects, self._root)
        self._lease: Lease | None = None
        if self._objects.kind(self._root) == fs.FileType.File:
            raise InputError(f"the run directory '{self.uri}' is a file; name a directory")

    @property
    def local(self) -> Path | None:
        """The directory as a local path, or None on a remote filesystem."""
        return Path(self._root) if self._folders is None else None

    def exists(self, path: str) -> bool:
        if self._folders is not None:
            return self._folders.exists(path)
        return self._fs.get_file_info(self._at(path)).type != fs.FileType.NotFound

    def read_bytes(self, path: str) -> bytes:
        """Raises InputError where the file is missing: it names the stage to run."""
        try:
            if self._folders is not None:
                return self._folders.read(path)
            with self._fs.open_input_stream(self._at(path)) as stream:
                return stream.read()
        except FileNotFoundError:
            stage = path.split("/")[0]
            raise InputError(f"'{self.uri}' has no {path}; run the stage '{stage}' first") from None
        except OSError:
            if self._fs.get_file_info(self._at(path)).type == fs.FileType.File:
                raise
            raise self.damaged(path, "it is no file") from None

    def write_bytes(self, path: str, content: bytes) -> None:
        """Write a whole file or nothing."""
        if self._folders is not None:
            with self._beside(path):
                self._objects.write(self._at(path), content)
            return
        with self.written(path) as stream:
            stream.write(content)

    @contextmanager
    def _beside(self, path: str) -> Iterator[None]:
        """Write into a folder that may be pending: it is put in place first, by whoever holds the lease."""
        assert self._folders is not None
        if self._folders.standing(path).pending is not None:
            with self._owned() as require:
                self._folders.finish(path, require)
        yield
        self._folders.touch(path)

    @contextmanager
    def written(self, path: str) -> Iterator[Any]:
        """A stream of bytes that becomes a whole file where the block ends without an error, and nothing elsewise."""
        target = self._at(path)
        temporary = f"{target}.{uuid4().hex[:8]}.tmp"
        if self._folders is not None:
            temporary = self._at(f"{WORK}/{uuid4().hex[:8]}.tmp")
        self._objects.make_folder(target)
        self._objects.make_folder(temporary)
        try:
            with self._fs.open_output_stream(temporary) as stream:
                yield stream
                size = stream.tell()
            if self._folders is None:
                self._fs.move(temporary, target)
            else:
                self._objects.require_copyable(path, size)
                with self._beside(path):
                    self._objects.copy(temporary, target)
                self._objects.delete(temporary)
        except BaseException as error:
            with suppress(OSError):
                self._fs.delete_file(temporary)
            if isinstance(error, OSError):
                raise faults.told(error, f"'{self.uri}'") from None
            raise

    def opened(self, path: str) -> Any:
        """A file to read from at any place, as pyarrow's readers want it."""
        where = self._at(path) if self._folders is None else self._folders.place(path)
        return faults.patiently(lambda: self._fs.open_input_file(where), f"'{self.uri}'")

    def remove(self, path: str = "") -> None:
        """Remove a file or a folder with all that it holds, of no path the directory itself; nothing where it is not there."""
        where = self._at(path).rstrip("/")
        with self._beside(path) if self._folders is not None else nullcontext():
            kind = self._objects.kind(where)
            if kind == fs.FileType.File:
                self._objects.delete(where)
            elif kind == fs.FileType.Directory:
                self._objects.delete_folder(where)

    def read_json(self, path: str) -> Any:
        """Raises InputError where the file is missing or no JSON."""
        content = self.read_bytes(path)
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise self.damaged(path, error) from None

    def read_model(self, path: str, kind: type[Model]) -> Model:
        """Raises InputError where the file is missing or does not hold what ``kind`` describes."""
        try:
            return kind.model_validate(self.read_json(path))
        except ValidationError as error:
            raise self.damaged(path, error.errors()[0]["msg"]) from None

    def damaged(self, path: str, reason: object) -> InputError:
        """What to raise where a file does not hold what its stage wrote."""
        stage = path.split("/")[0]
        return InputError(f"'{self.uri}/{path}' is damaged ({reason}); run the stage '{stage}' again with --force")

    def write_json(self, path: str, value: Any) -> None:
        self.write_bytes(path, to_json(value))

    def changed_at(self, path: str) -> float:
        """When a file was last written, in seconds since 1970 by the clock of where it lies."""
        info = faults.patiently(lambda: self._fs.get_file_info(self._at(path)), f"'{self.uri}'")
        return float(info.mtime_ns or 0) / 1e9

    def files(self, path: str) -> list[str]:
        """The files below a directory, sorted, relative to the run directory."""
        if self._folders is not None:
            return sorted(self._folders.listing(path))
        found = [info.path for info in self._objects.listing(self._at(path))]
        return sorted(file.removeprefix(self._root).lstrip("/") for file in found)

    @contextmanager
    def local_copy(self, path: str) -> Iterator[Path]:
        """A stage's directory as local files, to be read: itself where the run is local, elsewhere a download, which this
        process keeps until it ends, for the same stage is asked for again and again."""
        if not self.exists(path):
            raise InputError(f"'{self.uri}' has no {path}; run the stage '{path.split('/')[0]}' first")
        if self._folders is None:
            yield Path(self._root) / path
            return
        try:
            copy = self._folders.download(
                path, lambda content: scratch.copies() / digest([self._key, path, content])[:16]
            )
        except FileNotFoundError:
            raise self.damaged(path, "storage lost a part of it") from None
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise InputError(
                f"'{tempfile.gettempdir()}' has no room for a copy of '{self.uri}/{path}' ({error.strerror}); set TMPDIR to a "
                "folder on a larger disk"
            ) from None
        yield copy

    def report(self, stage: str) -> Report | None:
        """The stage's report, or None where the stage has not run whole."""
        if not self.exists(f"{stage}/{REPORT}"):
            return None
        return self.read_model(f"{stage}/{REPORT}", Report)

    def figures(self, stage: str) -> list[Figure]:
        if not self.exists(f"{stage}/{FIGURES}"):
            return []
        path = f"{stage}/{FIGURES}"
        try:
            return TypeAdapter(list[Figure]).validate_python(self.read_json(path))
        except ValidationError as error:
            raise self.damaged(path, error.errors()[0]["msg"]) from None

    @contextmanager
    def stage(self, name: str, fingerprint: str) -> Iterator[StageDir]:
        """A place to work that becomes ``name/`` only when the block ends without an error."""
        if self.local is not None:
            self.put_back(name)
        work = self._work() / f"{name}-{fingerprint[:12]}"
        for stale in work.parent.glob(f"{name}-*"):
            if stale != work:
                shutil.rmtree(stale)
        if self._folders is not None:
            with self._owned() as require, self._mirrored(name, work, require):
                yield StageDir(work)
            return
        work.mkdir(parents=True, exist_ok=True)
        yield StageDir(work)
        assert (work / REPORT).exists(), f"stage {name} ended without its report"
        self._publish(work, name)

    @contextmanager
    def _mirrored(self, name: str, work: Path, require: Callable[[], None]) -> Iterator[None]:
        """What a stage's work needs beside it where the run is in storage."""
        assert self._folders is not None
        self._folders.finish(name, require)
        others = [folder for folder in self._folders.worked_on(name) if folder != f"{WORK}/{work.name}"]
        require()
        self._folders.clear(others)
        for stale in work.parent.glob(f".{name}-*.mark"):
            if stale.name != f".{work.name}.mark":
                stale.unlink()
        mirror = Mirror(self._objects, self._folders, work, require)
        mirror.restore()
        with mirror.running():
            yield
            assert (work / REPORT).exists(), f"stage {name} ended without its report"
        self._commit(name, mirror, require)

    def _commit(self, name: str, mirror: Mirror, require: Callable[[], None]) -> None:
        assert self._folders is not None
        self._folders.commit(name, mirror.send(), require)
        mirror.end()

    def publish(self, source: Path, name: str) -> None:
        """Put a copy of a local directory at ``name/``, replacing what was there, all or nothing."""
        staged = self._work() / f"{name}-{uuid4().hex[:8]}"
        shutil.copytree(source, staged)
        if self._folders is None:
            self._publish(staged, name)
            return
        with self._owned() as require:
            self._folders.finish(name, require)
            self._folders.clear(self._folders.worked_on(name))
            self._commit(name, Mirror(self._objects, self._folders, staged, require), require)

    @contextmanager
    def _owned(self) -> Iterator[Callable[[], None]]:
        """Whoever replaces a folder in storage holds the lease: yields what asks whether it is held still."""
        if self._lease is not None:
            yield self._lease.require
            return
        with self.leased(log.warning) as require:
            yield require

    @contextmanager
    def leased(self, say: Callable[[str], None]) -> Iterator[Callable[[], None]]:
        """Keep other processes out of a run in storage, as storage/lease.py does; yields what raises where one came in."""
        assert self._folders is not None, "a local run has a lock"
        lease = Lease(self._objects, self._at(f"{WORK}/lease.json"), self.uri)
        with lease.taken(say):
            self._lease = lease
            try:
                yield lease.require
            finally:
                self._lease = None

    def _work(self) -> Path:
        if self.local is not None:
            return self.local / WORK
        return scratch.kept(self._key)

    def _publish(self, work: Path, name: str) -> None:
        assert self.local is not None
        target, old = self.local / name, self.local / WORK / f"old-{name}-{uuid4().hex[:8]}"
        if target.exists():
            target.rename(old)
        work.rename(target)
        shutil.rmtree(old, ignore_errors=True)

    def put_back(self, name: str = "*") -> None:
        """Undo what a kill between the two renames of a local publish left: a name that nothing has, and its old folder. Only
        for whoever keeps others out of the run."""
        assert self.local is not None
        for old in sorted(
            (self.local / WORK).glob(f"old-{name}-*"), key=lambda path: path.stat().st_ctime_ns, reverse=True
        ):
            target = self.local / old.name.removeprefix("old-").rpartition("-")[0]
            if target.exists():
                shutil.rmtree(old)
            else:
                old.rename(target)

    def _at(self, path: str) -> str:
        return f"{self._root.rstrip('/')}/{path}"


class StageDir:
    """The local directory a stage works in. It may hold what an earlier, killed attempt at the same work left."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write_json(self, name: str, value: Any) -> None:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f"{file.name}.{uuid4().hex[:8]}.tmp")
        temporary.write_bytes(to_json(value))
        temporary.rename(file)

    def write_figures(self, figures: list[Figure]) -> None:
        ids = [figure.id for figure in figures]
        assert len(set(ids)) == len(ids), f"figure ids repeat: {ids}"
        self.write_json(FIGURES, [figure.model_dump() for figure in figures])


def to_json(value: Any) -> bytes:
    """JSON with sorted keys; NaN and infinity are refused, for no reader of the file expects them."""
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False, default=_encode).encode() + b"\n"


def digest(value: Any) -> str:
    """A hash of plain values that does not depend on key order."""
    return hashlib.sha256(to_json(value)).hexdigest()


def _encode(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")
