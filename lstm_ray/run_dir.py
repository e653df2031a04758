"""Where stages write and read: one directory on any filesystem that pyarrow opens. Knows nothing of what stages do.

A stage works in ``.work/STAGE-FINGERPRINT`` and is renamed to ``STAGE`` when whole, so a killed run leaves nothing
half-written that anything would trust, and finds its own checkpoints again when it is started again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from pyarrow import fs
from pydantic import BaseModel, TypeAdapter, ValidationError

from lstm_ray.errors import InputError
from lstm_ray.figure import Figure
from lstm_ray.finding import Finding, Report

__all__ = ["FIGURES", "REPORT", "Finding", "Report", "RunDir", "StageDir", "digest", "to_json"]

REPORT, FIGURES = "report.json", "figures.json"
Model = TypeVar("Model", bound=BaseModel)


class RunDir:
    """A run's directory. Paths are relative to it, with forward slashes.

    Args:
        uri: a local path or a URI that pyarrow opens (``s3://``, ``gs://``, ``hdfs://``).
    """

    def __init__(self, uri: str | Path) -> None:
        text = str(uri)
        if "://" not in text:
            text = str(Path(text).expanduser().absolute())
        try:
            self._fs, self._root = fs.FileSystem.from_uri(text)
            is_file = self._fs.get_file_info(self._root).type == fs.FileType.File
        except (OSError, ValueError) as error:
            raise InputError(f"cannot open the run directory '{uri}': {error}") from None
        if is_file:
            raise InputError(f"the run directory '{uri}' is a file; name a directory")
        self.uri = text

    @property
    def local(self) -> Path | None:
        """The directory as a local path, or None on a remote filesystem."""
        return Path(self._root) if isinstance(self._fs, fs.LocalFileSystem) else None

    def exists(self, path: str) -> bool:
        return self._fs.get_file_info(self._at(path)).type != fs.FileType.NotFound

    def read_bytes(self, path: str) -> bytes:
        """Raises InputError where the file is missing: it names the stage to run."""
        try:
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
        with self.written(path) as stream:
            stream.write(content)

    @contextmanager
    def written(self, path: str) -> Iterator[Any]:
        """A stream of bytes that becomes a whole file where the block ends without an error, and nothing elsewise."""
        target = self._at(path)
        self._fs.create_dir(str(Path(target).parent), recursive=True)
        temporary = f"{target}.{uuid4().hex[:8]}.tmp"
        try:
            with self._fs.open_output_stream(temporary) as stream:
                yield stream
            self._fs.move(temporary, target)
        except BaseException:
            with suppress(OSError):
                self._fs.delete_file(temporary)
            raise

    def opened(self, path: str) -> Any:
        """A file to read from at any place, as pyarrow's readers want it."""
        return self._fs.open_input_file(self._at(path))

    def remove(self, path: str = "") -> None:
        """Remove a file or a folder with all that it holds, of no path the directory itself; nothing where it is not there."""
        where = self._at(path).rstrip("/")
        kind = self._fs.get_file_info(where).type
        if kind == fs.FileType.File:
            self._fs.delete_file(where)
        elif kind == fs.FileType.Directory:
            self._fs.delete_dir(where)

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

    def files(self, path: str) -> list[str]:
        """The files below a directory, sorted, relative to the run directory."""
        selector = fs.FileSelector(self._at(path), recursive=True, allow_not_found=True)
        found = [info.path for info in self._fs.get_file_info(selector) if info.type == fs.FileType.File]
        return sorted(file.removeprefix(self._root).lstrip("/") for file in found)

    @contextmanager
    def local_copy(self, path: str) -> Iterator[Path]:
        """A stage's directory as local files: itself where the run is local, a temporary download elsewhere."""
        if not self.exists(path):
            raise InputError(f"'{self.uri}' has no {path}; run the stage '{path.split('/')[0]}' first")
        if self.local is not None:
            yield self.local / path
            return
        with tempfile.TemporaryDirectory() as temporary:
            fs.copy_files(self._at(path), temporary, source_filesystem=self._fs)
            yield Path(temporary)

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
        work = self._work() / f"{name}-{fingerprint[:12]}"
        for stale in [*work.parent.glob(f"{name}-*"), *work.parent.glob(f"old-{name}-*")]:
            if stale != work:
                shutil.rmtree(stale)
        work.mkdir(parents=True, exist_ok=True)
        yield StageDir(work)
        assert (work / REPORT).exists(), f"stage {name} ended without its report"
        self._publish(work, name)

    def publish(self, source: Path, name: str) -> None:
        """Put a copy of a local directory at ``name/``, replacing what was there, all or nothing."""
        staged = self._work() / f"{name}-{uuid4().hex[:8]}"
        shutil.copytree(source, staged)
        self._publish(staged, name)

    def _work(self) -> Path:
        if self.local is not None:
            return self.local / ".work"
        key = hashlib.sha256(self.uri.encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"lstm-ray-{key}"

    def _publish(self, work: Path, name: str) -> None:
        if self.local is None:
            # Object stores have no rename: the old report goes first and the new one comes last, as the commit mark.
            if self.exists(f"{name}/{REPORT}"):
                self._fs.delete_file(self._at(f"{name}/{REPORT}"))
            if self.exists(name):
                self._fs.delete_dir(self._at(name))
            marker = (work / REPORT).read_bytes() if (work / REPORT).exists() else None
            (work / REPORT).unlink(missing_ok=True)
            self._fs.create_dir(self._at(name), recursive=True)
            fs.copy_files(str(work), self._at(name), destination_filesystem=self._fs)
            if marker is not None:
                self.write_bytes(f"{name}/{REPORT}", marker)
            shutil.rmtree(work)
            return
        target, old = self.local / name, self.local / ".work" / f"old-{name}-{uuid4().hex[:8]}"
        if target.exists():
            target.rename(old)
        work.rename(target)
        shutil.rmtree(old, ignore_errors=True)

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
