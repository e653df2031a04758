"""Objects on a filesystem that pyarrow opens: read, written, copied and removed whole, with patience. Knows no folders' sense.

A single object is whole or not there: stores make it visible when its upload ends. pyarrow 26 has no conditional writes, and
copies on the server are limited to what the store copies at once.
"""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from pyarrow import fs
from pydantic import BaseModel, ValidationError

from lstm_ray.errors import InputError
from lstm_ray.storage.faults import patiently, told, usable
from lstm_ray.storage.places import Place

T = TypeVar("T")
U = TypeVar("U")
Model = TypeVar("Model", bound=BaseModel)
THREADS = 8
PIECE_BYTES = 8 << 20
COPY_LIMIT_BYTES = 5 << 30
"""What S3 copies at once."""
TRIES, PAUSE_SECONDS = 20, 0.05
"""How often an object that is replaced again and again is read, and what is waited between."""


class Stored(BaseModel):
    """An object, and what was written to it."""

    at: str
    """Where it lies, relative to the run directory."""
    size: int
    sha256: str


class Objects:
    """Paths are the filesystem's own. Raises InputError where storage refuses or is gone for long."""

    def __init__(self, place: Place) -> None:
        self.filesystem, self._words = place.filesystem, place.words
        self._patience_seconds: float | None = None
        # Stores of objects know no folders; elsewhere a file needs one.
        self._has_folders = not isinstance(self.filesystem, fs.S3FileSystem) and self.filesystem.type_name != "gcs"

    def once(self) -> Objects:
        """The same place, where nothing is tried a second time."""
        other = copy.copy(self)
        other._patience_seconds = 0.0
        return other

    def kind(self, path: str) -> fs.FileType:
        return self._do(lambda: self.filesystem.get_file_info(path).type)

    def read(self, path: str) -> bytes:
        """Raises FileNotFoundError where there is none."""

        def work() -> bytes:
            with self.filesystem.open_input_file(path) as stream:
                return stream.read()

        return self._do(work)

    def read_as(self, path: str, kind: type[Model]) -> Model:
        """An object of JSON that others may replace meanwhile: between the question for its size and its reading, it is cut.

        Raises FileNotFoundError where there is none, InputError where it stays damaged.
        """
        for _ in range(TRIES):
            try:
                return kind.model_validate_json(self.read(path))
            except ValidationError:
                time.sleep(PAUSE_SECONDS)
        raise InputError(f"'{path}' in storage is damaged; remove it, then give the same command again")

    def write(self, path: str, content: bytes) -> None:
        def work() -> None:
            self.make_folder(path)
            with self.filesystem.open_output_stream(path) as stream:
                stream.write(content)

        self._do(work)

    def upload(self, file: Path, path: str, size: int) -> tuple[int, str]:
        """The first ``size`` bytes of a local file: it may grow meanwhile. How many there were, and their SHA-256."""

        def work() -> tuple[int, str]:
            self.make_folder(path)
            left, digest = size, hashlib.sha256()
            with open(file, "rb") as source, self.filesystem.open_output_stream(path) as stream:
                while left and (piece := source.read(min(left, PIECE_BYTES))):
                    stream.write(piece)
                    digest.update(piece)
                    left -= len(piece)
            return size - left, digest.hexdigest()

        return self._do(work)

    def download(self, path: str, file: Path, stored: Stored | None = None) -> None:
        """Raises FileNotFoundError where there is none, or it holds other bytes than were stored."""
        file.parent.mkdir(parents=True, exist_ok=True)

        def work() -> tuple[int, str]:
            size, digest = 0, hashlib.sha256()
            with self.filesystem.open_input_file(path) as stream, open(file, "wb") as target:
                while piece := stream.read(PIECE_BYTES):
                    target.write(piece)
                    digest.update(piece)
                    size += len(piece)
            return size, digest.hexdigest()

        found = self._do(work)
        if stored is not None and found != (stored.size, stored.sha256):
            raise FileNotFoundError(f"'{path}' in storage holds other bytes than were written")

    def copy(self, source: str, target: str) -> None:
        """On the server. Raises FileNotFoundError where the source is gone."""

        def work() -> None:
            self.make_folder(target)
            self.filesystem.copy_file(source, target)

        self._do(work)

    def require_copyable(self, path: str, size: int) -> None:
        """Raises InputError where this storage cannot copy a file of this size in bytes."""
        if isinstance(self.filesystem, fs.S3FileSystem) and size > COPY_LIMIT_BYTES:
            raise InputError(
                f"'{path}' has {size / 1e9:.1f} GB, and S3 puts no more than {COPY_LIMIT_BYTES / 1e9:.1f} GB in place at once; "
                "make it smaller, or use a run directory on a disk or on gs://"
            )

    def delete(self, path: str) -> None:
        """Nothing where it is not there: a try before may have removed it unheard."""

        def work() -> None:
            try:
                self.filesystem.delete_file(path)
            except OSError as error:
                if not isinstance(told(error, self._words), FileNotFoundError):
                    raise

        self._do(work)

    def delete_folder(self, path: str) -> None:
        self._do(lambda: self.filesystem.delete_dir_contents(path, missing_dir_ok=True))
        if self._has_folders and self.kind(path) == fs.FileType.Directory:
            self._do(lambda: self.filesystem.delete_dir(path))

    def listing(self, folder: str) -> list[fs.FileInfo]:
        """Every file below a folder, sorted by path."""
        selector = fs.FileSelector(folder, recursive=True, allow_not_found=True)
        found = self._do(lambda: self.filesystem.get_file_info(selector))
        return sorted((info for info in found if info.type == fs.FileType.File), key=lambda info: info.path)

    def each(self, work: Callable[[T], U], items: Iterable[T]) -> list[U]:
        """Do it for all, several at a time; raises what the first failure raised, when all have ended."""
        with ThreadPoolExecutor(THREADS, thread_name_prefix="lstm-ray-objects") as pool:
            return list(pool.map(work, items))

    def make_folder(self, path: str) -> None:
        """The folder that is to hold a file, where the filesystem wants one."""
        if self._has_folders:
            folder = path.rpartition("/")[0]
            with usable(f"'{folder}'"):
                self.filesystem.create_dir(folder, recursive=True)

    def _do(self, work: Callable[[], T]) -> T:
        return patiently(work, self._words, self._patience_seconds)
