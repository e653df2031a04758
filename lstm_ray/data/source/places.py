"""Where files are: paths, globs, folders and addresses to single files. Knows filesystems; nothing of what files hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote

import pyarrow as pa
from pyarrow import fs

from lstm_ray.data.source import download
from lstm_ray.errors import InputError, secret_in
from lstm_ray.storage import address, faults, s3
from lstm_ray.storage import places as storage
from lstm_ray.storage.faults import within

T = TypeVar("T")
Partition = tuple[tuple[str, str | None], ...]
BY_PYARROW = ("file", "s3", "gs", "gcs", "hdfs", "viewfs")
"""Schemes that pyarrow opens itself; fsspec opens the others."""
WILD = re.compile(r"[*?[]")
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
DELTA_LOG = "_delta_log"
TABLES = (".csv", ".csv.gz", ".parquet", ".pq", ".arrow", ".feather")
"""Endings of files that a folder is searched for."""
UNREADABLE = (pa.ArrowException, OSError, EOFError, UnicodeDecodeError)
"""What filesystems and formats raise where a file cannot be read."""


@dataclass(frozen=True)
class File:
    """One file of a source."""

    filesystem: fs.FileSystem = field(compare=False)
    path: str
    """Inside the filesystem."""
    name: str
    """As people know it: the address where it was downloaded."""
    size: int
    """Bytes."""
    version: str | int
    """What tells one version of the file from another, beside its size."""
    partition: Partition = ()
    """Columns that its folders tell, as text: year=2024 (Hive)."""
    declared: tuple[str, ...] = ()
    """Columns of its whole table, empty where the file lacks them: Delta's files are not all written with all of them."""

    @property
    def suffix(self) -> str:
        """How the name ends, in lower case; compression included."""
        path = PurePosixPath(self.path)
        return "".join(path.suffixes[-2:] if path.suffix.lower() == ".gz" else path.suffixes[-1:]).lower()


@contextmanager
def refused_by_name(file: File) -> Iterator[None]:
    """What a filesystem or format has against a file, as one InputError that names it."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"'{file.name}' was listed and is gone; run again once nothing moves the files") from None
    except PermissionError as error:
        raise InputError(f"'{file.name}' may not be read: {one_line(error)}; ask for the right to read it") from None
    except UNREADABLE as error:
        raise InputError(f"'{file.name}' cannot be read: {one_line(error)}; it may be cut off, fetch it anew") from None


def find(source: str) -> list[File]:
    """Every file that a source names, sorted by path; of a Delta table those of its newest version.

    Raises InputError where the place cannot be opened or the address holds a secret; an empty list where it holds nothing.
    """
    if secret := secret_in(source):
        raise InputError(f"data.source '{source}' {secret}")
    if download.is_address(source):
        local = fs.LocalFileSystem()
        return [_file(local, local.get_file_info(str(download.fetch(source))), source)]
    if "://" in source:
        return _told(lambda: _remote(source), source)
    text = address.local_path(source, storage.SOURCE)
    wild = None if Path(text).exists() else WILD.search(text)  # a file may have a bracket in its name
    base = text[: wild.start()].rpartition("/")[0] if wild else text

    def look() -> list[File]:
        filesystem = fs.LocalFileSystem()
        return _inside(filesystem, filesystem.get_file_info(base or "/"), text[len(base) :] if wild else None, text)

    return _told(look, source)


def _remote(source: str) -> list[File]:
    """The files behind a URI. Its place is given the same time to answer as a run directory; a long listing takes longer."""
    scheme = source.partition("://")[0].lower()
    if scheme not in BY_PYARROW:
        return _by_fsspec(source, scheme)
    said = address.read(source, storage.SOURCE, globs=True)
    wild = WILD.search(said.path)
    base = said.path[: wild.start()].rpartition("/")[0] if wild else said.path
    pattern = unquote(said.path[len(base) :]) if wild else None

    def look() -> tuple[fs.FileSystem, fs.FileInfo]:
        place = storage.to_read(said, base)
        try:
            info = place.filesystem.get_file_info(place.root)
            if info.type == fs.FileType.NotFound and isinstance(place.filesystem, fs.S3FileSystem):
                s3.require_bucket(place.filesystem, said.host, place.words)
        except OSError as error:
            raise faults.told(error, place.words) from None
        return place.filesystem, info

    filesystem, info = within(look, storage.OPEN_SECONDS, storage.silent(f"{storage.SOURCE} '{said.shown}'"))
    return _inside(filesystem, info, pattern, said.shown)


def _by_fsspec(source: str, scheme: str) -> list[File]:
    query = re.search(r"\?(\w+=[^&]*(&\w+=[^&]*)*)$", source)
    text, options = (source[: query.start()], dict(parse_qsl(query[1]))) if query else (source, {})
    if find_spec("fsspec") is None:
        raise InputError(f"'{scheme}://' is opened by fsspec, which is not installed; pip install 'lstm-ray[cloud]'")
    wild = WILD.search(text)
    base = text[: wild.start()].rpartition("/")[0] if wild else text

    def look() -> tuple[fs.FileSystem, fs.FileInfo]:
        try:
            opened, path = import_module("fsspec.core").url_to_fs(base, **options)
        except ImportError as error:
            raise InputError(
                f"'{scheme}://' needs a package: {one_line(error)}; pip install 'lstm-ray[cloud]'"
            ) from None
        filesystem = fs.PyFileSystem(fs.FSSpecHandler(opened))
        return filesystem, filesystem.get_file_info(path)

    filesystem, info = within(look, storage.OPEN_SECONDS, storage.silent(f"{storage.SOURCE} '{text}'"))
    return _inside(filesystem, info, text[len(base) :] if wild else None, text)


def one_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _inside(filesystem: fs.FileSystem, info: fs.FileInfo, pattern: str | None, source: str) -> list[File]:
    path = info.path
    if info.type == fs.FileType.File:
        return [_file(filesystem, info)]
    if info.type == fs.FileType.NotFound:
        return []
    if pattern is None and filesystem.get_file_info(f"{path.rstrip('/')}/{DELTA_LOG}").type == fs.FileType.Directory:
        return _of_delta(filesystem, path, source)
    deep = pattern is None or "/" in pattern.lstrip("/") or "**" in pattern
    found = filesystem.get_file_info(fs.FileSelector(path, recursive=deep))
    files = [_file(filesystem, i) for i in sorted(found, key=lambda i: i.path) if i.type == fs.FileType.File]
    root = path.rstrip("/")
    below = {file.path: file.path.removeprefix(root).lstrip("/") for file in files}
    if pattern is not None:
        named = re.compile(_as_regex(pattern.lstrip("/")))
        return [file for file in files if named.fullmatch(below[file.path])]
    # Writers leave marks such as _SUCCESS and .crc beside their tables.
    seen = [f for f in files if not any(part.startswith(("_", ".")) for part in PurePosixPath(below[f.path]).parts)]
    return [file for file in seen if file.suffix in TABLES]


def _of_delta(filesystem: fs.FileSystem, path: str, source: str) -> list[File]:
    """The live files of a Delta table's newest version, without those that later versions replaced."""
    if find_spec("deltalake") is None:
        raise InputError(f"'{source}' is a Delta table, which needs its package; pip install 'lstm-ray[delta]'")
    # Without credentials its client asks for minutes.
    words = storage.silent(f"{storage.SOURCE} '{source}'")
    table = within(lambda: import_module("deltalake").DeltaTable(source), storage.OPEN_SECONDS, words)
    unread = []
    if table.metadata().configuration.get("delta.columnMapping.mode", "none") != "none":
        unread.append("other names for its columns (column mapping)")
    if "deletionVectors" in (table.protocol().reader_features or []) and _has_deleted_rows(table):
        unread.append("rows deleted beside its files (deletion vectors)")
    if unread:
        raise InputError(
            f"Delta table '{source}' has {' and '.join(unread)}, which its files alone do not tell; purge it (REORG TABLE ... "
            "APPLY (PURGE)), or write it anew"
        )
    keys = table.metadata().partition_columns
    declared = tuple(field.name for field in table.schema().fields)
    files = []
    for row in pa.table(table.get_add_actions(flatten=True)).to_pylist():
        where = unquote(row["path"])
        if "://" in where:
            raise InputError(f"Delta table '{source}' names a file of another table, '{where}'; copy it whole")
        values = ((key, row[f"partition.{key}"]) for key in keys)
        partition = tuple((key, None if value is None else str(value)) for key, value in values)
        full = f"{path.rstrip('/')}/{where}"
        files.append(File(filesystem, full, full, row["size_bytes"], row["modification_time"], partition, declared))
    return sorted(files, key=lambda file: file.path)


def _has_deleted_rows(table: Any) -> bool:
    """Older packages cannot tell, so that the feature alone counts."""
    return not hasattr(table, "deletion_vectors") or pa.table(table.deletion_vectors()).num_rows > 0


def _file(filesystem: fs.FileSystem, info: fs.FileInfo, name: str | None = None) -> File:
    version: str | int = info.mtime_ns or 0
    if not version and isinstance(filesystem, fs.PyFileSystem):
        version = str(filesystem.handler.fs.ukey(info.path))
    file = File(filesystem, info.path, name or info.path, info.size or 0, version)
    return replace(file, partition=_hive(info.path)) if name is None else file


def _hive(path: str) -> Partition:
    """The columns in folders named key=value."""
    pairs = (folder.partition("=") for folder in PurePosixPath(path).parts[:-1] if "=" in folder.strip("="))
    return tuple((unquote(key), None if value == HIVE_NULL else unquote(value)) for key, _, value in pairs)


def _told(work: Callable[[], T], source: str) -> T:
    try:
        return work()
    except InputError:
        raise
    # fsspec's filesystems and deltalake have exceptions of their own, of no common kind.
    except Exception as error:
        raise InputError(
            f"data.source '{source}' cannot be opened: {one_line(error)}; check the address, its credentials and the network"
        ) from None


def _as_regex(pattern: str) -> str:
    """A glob in which * and ? stay in a folder and ** crosses them."""
    words = re.split(r"(\*\*/|\*\*|\*|\?|\[[^]]+\])", pattern)
    signs = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(
        signs.get(w)
        or (f"[{'^' * (w[1] == '!')}{w[1 + (w[1] == '!') : -1]}]" if w[:1] == "[" and w[-1:] == "]" else re.escape(w))
        for w in words
    )
