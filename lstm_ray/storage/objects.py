"""Objects on a filesystem that pyarrow opens: read, written, copied and removed whole, with patience. Knows no folders' sense.

A single object is whole or not there: stores make it visible when its upload ends. pyarrow 26 has no conditional writes, and
copies on the server are limited to what the store copies at once (5 GB on S3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from pyarrow import fs

from lstm_ray.storage.faults import patiently, told
from lstm_ray.storage.places import Place

T = TypeVar("T")
THREADS = 8
PIECE_BYTES = 8 << 20


class Objects:
    """Paths are the filesystem's own. Raises InputError where storage refuses or is gone for long."""

    def __init__(self, place: Place) -> None:
        self.filesystem, self._words = place.filesystem, place.words
        # Stores of objects know no folders; elsewhere a file needs one.
        self._has_folders = not isinstance(self.filesystem, fs.S3FileSystem) and self.filesystem.type_name != "gcs"

    def kind(self, path: str) -> fs.FileType:
        return self._do(lambda: self.filesystem.get_file_info(path).type)

    def read(self, path: str) -> bytes:
        """Raises FileNotFoundError where there is none."""

        def work() -> bytes:
            with self.filesystem.open_input_file(path) as stream:
                return stream.read()

        return self._do(work)

    def write(self, path: str, content: bytes) -> None:
        def work() -> None:
            self.make_folder(path)
            with self.filesystem.open_output_stream(path) as stream:
                stream.write(content)

        self._do(work)

    def upload(self, file: Path, path: str, size: int) -> None:
        """The first ``size`` bytes of a local file: it may grow meanwhile."""

        def work() -> None:
            self.make_folder(path)
            left = size
            with open(file, "rb") as source, self.filesystem.open_output_stream(path) as stream:
                while left and (piece := source.read(min(left, PIECE_BYTES))):
                    stream.write(piece)
                    left -= len(piece)

        self._do(work)

    def download(self, path: str, file: Path) -> None:
        """Raises FileNotFoundError where there is none."""
        file.parent.mkdir(parents=True, exist_ok=True)

        def work() -> None:
            with self.filesystem.open_input_file(path) as stream, open(file, "wb") as target:
                while piece := stream.read(PIECE_BYTES):
                    target.write(piece)

        self._do(work)

    def copy(self, source: str, target: str) -> None:
        """On the server. Raises FileNotFoundError where the source is gone."""

        def work() -> None:
            self.make_folder(target)
            self.filesystem.copy_file(source, target)

        self._do(work)

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

    def each(self, work: Callable[[T], None], items: Iterable[T]) -> None:
        """Do it for all, several at a time; raises what the first failure raised, when all have ended."""
        with ThreadPoolExecutor(THREADS, thread_name_prefix="lstm-ray-objects") as pool:
            list(pool.map(work, items))

    def make_folder(self, path: str) -> None:
        """The folder that is to hold a file, where the filesystem wants one."""
        if self._has_folders:
            self.filesystem.create_dir(path.rpartition("/")[0], recursive=True)

    def _do(self, work: Callable[[], T]) -> T:
        return patiently(work, self._words)
