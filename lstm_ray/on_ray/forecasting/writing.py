"""Where forecasts are written: a folder of parts, or one file that they become; and what an attempt that was killed left.

A part is whole or not there, and the summary comes last. An attempt is named by what its parts depend on, so that the same
command goes on after those that are finished, and another begins anew.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lstm_ray import progress
from lstm_ray.errors import InputError
from lstm_ray.on_ray.forecasting.predicting import Told, told_by
from lstm_ray.run_dir import RunDir, digest
from lstm_ray.storage.places import shown_as

ATTEMPT, SUMMARY = "_attempt.json", "_summary.json"
PART = re.compile(r"part-(\d{5,})\.parquet")
PARQUET = (".parquet", ".pq")
OTHERS = (".csv", ".json", ".jsonl", ".txt", ".gz", ".zip", ".xlsx", ".arrow", ".feather")
"""Endings of names that nobody gives a folder."""
DIFFERS = {
    "policy": "another policy",
    "files": "data files that were other ones, or have changed since",
    "engine": "blocks cut on a cluster, or not, unlike now",
}
"""What a part depends on, in words."""


class Out:
    """A folder of parts, or the file that is made of them.

    Args:
        out: ``--out``: a name that ends in .parquet is a file, unless there is a folder of that name.

    Raises:
        InputError: it can be neither.
    """

    def __init__(self, out: str | Path) -> None:
        # What stands in a URI before its @ and after its ? is kept for what is opened below it.
        text = shown_as(str(out)) if "://" in str(out) else str(Path(out).expanduser().absolute())
        base, _, self._name = text.rstrip("/").rpartition("/")
        suffix = PurePosixPath(self._name).suffix.lower()
        self.out, self._summary = shown_as(str(out)), SUMMARY
        self._file: RunDir | None = None
        if suffix in OTHERS:
            raise InputError(
                f"--out '{out}' is no Parquet file; name one that ends in .parquet, or a folder of such files"
            )
        if suffix in PARQUET and not ("://" not in text and Path(text).is_dir()):
            self._file, self._summary = RunDir(base), f"{self._name}.summary.json"
            self._folder = RunDir(f"{base}/.{self._name}.parts")
        elif "://" not in text and Path(text).is_file():
            raise InputError(f"--out '{out}' is a file; name a folder, or a file that ends in .parquet")
        else:
            self._folder = RunDir(text)
        self.done: dict[int, Told] = {}
        """Finished parts."""

    @property
    def summary(self) -> str:
        """Where the summary is."""
        return f"{self.out}.summary.json" if self._file else f"{self.out.rstrip('/')}/{SUMMARY}"

    def begin(self, key: Mapping[str, Any]) -> dict[str, Any] | None:
        """Go on after the parts that an attempt by the same key has finished, else from nothing. The summary, where that
        attempt has ended.

        Args:
            key: plain values that a part depends on.

        Raises:
            InputError: a folder that holds files which are none of ours.
        """
        folder, wanted = self._folder, {**key, "digest": digest(key)}
        held = folder.files("")
        if held and ATTEMPT not in held and any(not _is_left(name) for name in held):
            raise InputError(
                f"--out '{self.out}' holds other files, such as '{held[0]}'; name a new folder, or one of earlier forecasts"
            )
        found: Any = {}
        if held:
            # Parts that no attempt owns are what a removal left that was killed.
            with suppress(InputError):
                found = folder.read_json(ATTEMPT) if ATTEMPT in held else {}
            if not isinstance(found, dict) or found.get("digest") != wanted["digest"]:
                self._forget(held, found, wanted)
                held = []
        if SUMMARY in held and not self._file:
            summary: dict[str, Any] = folder.read_json(SUMMARY)
            return summary
        for name in held:
            if name.endswith(".tmp"):
                folder.remove(name)
            elif (part := PART.fullmatch(name)) and (told := self._told(name)):
                self.done[int(part[1])] = told
        if ATTEMPT not in held:
            folder.write_json(ATTEMPT, wanted)
        return None

    def write(self, number: int, content: bytes, told: Told) -> None:
        """Keep a finished part. Raises OSError where it cannot be written."""
        self._folder.write_bytes(_name(number), content)
        self.done[number] = told

    def end(self, schema: pa.Schema, summary: dict[str, Any]) -> None:
        """Make the one file of all parts where one is wanted, and write the summary."""
        if self._file is None:
            self._folder.write_json(SUMMARY, summary)
            return
        with self._file.written(self._name) as stream, pq.ParquetWriter(stream, schema, compression="zstd") as writer:
            for number in sorted(self.done):
                with self._folder.opened(_name(number)) as file:
                    part = pq.ParquetFile(file)
                    for group in range(part.num_row_groups):
                        writer.write_table(part.read_row_group(group).cast(schema))
        self._file.write_json(self._summary, summary)
        self._folder.remove()

    def drop(self) -> None:
        """Leave nothing of an attempt that has come to nothing."""
        if self._file is not None:
            self._folder.remove()
            return
        for name in (ATTEMPT, *(_name(number) for number in self.done)):
            self._folder.remove(name)
        if self._folder.local is not None:
            with suppress(OSError):
                self._folder.local.rmdir()

    def _told(self, name: str) -> Told | None:
        """What a part tells of itself; None where it is damaged, and to be made again."""
        try:
            with self._folder.opened(name) as file:
                return told_by(file)
        except (pa.ArrowException, OSError, KeyError, ValueError, TypeError):
            return None

    def _forget(self, held: list[str], found: Any, wanted: Mapping[str, Any]) -> None:
        """Remove an attempt of another key, its mark of being whole first."""
        before = found if isinstance(found, dict) else {}
        told = [words for name, words in DIFFERS.items() if before.get(name) != wanted.get(name)]
        progress.note(
            f"what '{self.out}' holds was forecast from {' and '.join(told) or 'other settings'}: it begins anew"
        )
        for name in sorted((name for name in held if _is_left(name)), key=lambda name: name != SUMMARY):
            self._folder.remove(name)


def _name(number: int) -> str:
    return f"part-{number:05d}.parquet"


def _is_left(name: str) -> bool:
    """Whether a file is one that forecasts leave."""
    whole = re.sub(r"\.[0-9a-f]{8}\.tmp$", "", name)
    return whole in (ATTEMPT, SUMMARY) or PART.fullmatch(whole) is not None
