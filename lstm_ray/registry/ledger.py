"""An append-only account of who changed what, and why: one line of JSON each, chained by hashes. Knows no torch, HTTP, Ray.

Each line holds the SHA-256 of the line before, and a small file beside holds that of the last, so that a line which is
altered, taken out or put in is found. Order is that of ``sequence``; the clock is told, and nothing hangs on it. Whoever can
write all files can write them all anew: who must rule that out keeps ``Ledger.verify``'s last hash elsewhere.
"""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from lstm_ray.errors import InputError

LEDGER, HEAD, TORN = "ledger.jsonl", "ledger.head", "ledger.torn"
FIRST = "0" * 64
"""What the first line has for the hash of the one before."""
HEALED = "healed"
"""Event: a line that a killed process or a full disk had left unfinished was moved to ledger.torn."""
ALTERED = "altered"
"""Event: the last line was another, or lines were gone from the end, when the next was to be written."""
TAIL_BYTES = 1 << 16


class Entry(BaseModel):
    """One line."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sequence: int
    """From 1, one more each."""
    time: str
    """UTC, as the clock had it."""
    who: str
    event: str
    """served, promoted, rolled_back, refused, canary, shadow, ended, asked, trained, judged, forgotten, alarm, cleared ..."""
    evidence: dict[str, Any]
    previous: str


class Ledger:
    """The ledger in a folder; it is made with its first line. Any number of processes may append and read."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._file = folder, folder / LEDGER

    def append(self, event: str, evidence: Mapping[str, Any], who: str | None = None) -> Entry:
        """Write a line, whole and on disk, or none.

        Args:
            evidence: plain values for JSON.
            who: default: this process's user and machine.

        Raises InputError where it cannot be written, as on a full disk, or the last line is no entry.
        """
        try:
            with self._held() as file:
                end, last = self._tail(file)
                sequence, previous = (last[0].sequence, last[1]) if last else (0, FIRST)
                if altered := self._altered(sequence, previous):
                    # Were it not told now, this line would cover it.
                    entry, end, previous = self._write(file, end, sequence + 1, None, ALTERED, altered, previous)
                    sequence = entry.sequence
                if torn := os.pread(file, os.fstat(file).st_size - end, end):
                    self._move_aside(torn)
                    os.ftruncate(file, end)
                    said = {"bytes": len(torn), "moved_to": TORN}
                    entry, end, previous = self._write(file, end, sequence + 1, None, HEALED, said, previous)
                    sequence = entry.sequence
                return self._write(file, end, sequence + 1, who, event, evidence, previous)[0]
        except OSError as error:
            raise InputError(
                f"'{self._file}' could not take '{event}': {error.strerror}; make room there, or let this user write it"
            ) from None

    def read(self) -> list[Entry]:
        """Every line, oldest first; one that is still unfinished is none. Raises InputError where a line is no entry."""
        return [_entry(self._file, number, line) for number, line in enumerate(self._lines(), 1)]

    def count(self) -> int:
        """How many lines there are, by the last one's number."""
        try:
            file = os.open(self._file, os.O_RDONLY)
        except OSError:
            return 0
        try:
            last = self._tail(file)[1]
        except InputError:
            return len(self._lines())
        finally:
            os.close(file)
        return last[0].sequence if last else 0

    def verify(self) -> tuple[int, str]:
        """How many lines hang together, and the last one's hash. Raises InputError that names the first line that does not."""
        previous, hashes = FIRST, []
        for number, line in enumerate(self._lines(), 1):
            entry = _entry(self._file, number, line)
            if (entry.sequence, entry.previous) != (number, previous):
                raise InputError(
                    f"'{self._file}' was altered at line {number}"
                    + (f" or at line {number - 1}" if number > 1 else "")
                    + f": it is entry {entry.sequence} and names {entry.previous[:12]} as the line before, which is "
                    f"{previous[:12]}; compare it with a copy"
                )
            if entry.event == ALTERED:
                raise InputError(
                    f"'{self._file}' was altered before line {number} was written, which says so: there were "
                    f"{entry.evidence.get('lines')} lines, the last one's SHA-256 {entry.evidence.get('sha256')}; compare it "
                    "with a copy"
                )
            hashes.append(previous := _hash(line))
        head = self._head()
        if head is not None:
            number, expected = head
            if number > len(hashes):
                raise InputError(
                    f"'{self._file}' was cut after line {len(hashes)}: there were {number}; compare it with a copy"
                )
            if hashes[number - 1] != expected:
                raise InputError(f"'{self._file}' was altered at line {number}; compare it with a copy")
        elif hashes:
            raise InputError(f"'{self._folder / HEAD}' is gone: whether line {len(hashes)} was altered cannot be told")
        return len(hashes), previous

    @contextmanager
    def _held(self) -> Iterator[int]:
        """The file, by this process alone."""
        self._folder.mkdir(parents=True, exist_ok=True)
        file = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
        finally:
            os.close(file)

    def _tail(self, file: int) -> tuple[int, tuple[Entry, str] | None]:
        """Where the last whole line ends, and that line with its hash; None where there is no line."""
        size, taken = os.fstat(file).st_size, b""
        begin = size
        while begin and taken.count(b"\n") < 2:
            begin = max(0, begin - TAIL_BYTES)
            taken = os.pread(file, size - begin, begin)
        end = begin + taken.rfind(b"\n") + 1
        lines = taken[: end - begin].split(b"\n")[:-1]
        if not lines:
            return end, None
        try:
            return end, (Entry.model_validate_json(lines[-1]), _hash(lines[-1]))
        except ValidationError:
            raise InputError(
                f"the last line of '{self._file}' is no entry; look at it, and move the file and '{HEAD}' away to begin another"
            ) from None

    def _write(
        self,
        file: int,
        end: int,
        sequence: int,
        who: str | None,
        event: str,
        evidence: Mapping[str, Any],
        previous: str,
    ) -> tuple[Entry, int, str]:
        """Returns the entry, where the next begins, and this one's hash."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        told = {
            "sequence": sequence,
            "time": now,
            "who": who or this_user(),
            "event": event,
            "evidence": dict(evidence),
        }
        line = json.dumps({**told, "previous": previous}, ensure_ascii=False, allow_nan=False).encode()
        try:
            _write_all(file, line + b"\n", end)
            os.fsync(file)
        except OSError:
            # What is there in part would be healed later; a disk that is full now can at least be cut.
            with suppress(OSError):
                os.ftruncate(file, end)
            raise
        found = _hash(line)
        self._write_head(sequence, found)
        return Entry.model_validate_json(line), end + len(line) + 1, found

    def _write_head(self, sequence: int, found: str) -> None:
        """The line is on disk: where there is no room for this file, an older one still names a line that stands."""
        temporary = self._folder / f"{HEAD}.tmp"
        with suppress(OSError):
            temporary.write_text(f"{sequence} {found}\n", encoding="ascii")
            temporary.replace(self._folder / HEAD)

    def _head(self) -> tuple[int, str] | None:
        try:
            number, found = (self._folder / HEAD).read_text(encoding="ascii").split()
            return int(number), found
        except (OSError, ValueError):
            return None

    def _altered(self, sequence: int, found: str) -> dict[str, Any]:
        """What the end of the file was, where it is no longer so; empty: it is, or there was no room to tell of it."""
        number, expected = self._head() or (0, FIRST)
        same = number < sequence or (number, expected) == (sequence, found)
        return {} if same else {"lines": number, "sha256": expected}

    def _move_aside(self, torn: bytes) -> None:
        with (self._folder / TORN).open("ab") as aside:
            aside.write(torn + b"\n")

    def _lines(self) -> list[bytes]:
        """Whole ones."""
        try:
            return self._file.read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise InputError(f"'{self._file}' cannot be read: {error.strerror}") from None


def this_user() -> str:
    """Whose process this is, and where: ``user@host``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def _entry(file: Path, number: int, line: bytes) -> Entry:
    try:
        return Entry.model_validate_json(line)
    except ValidationError:
        raise InputError(f"'{file}' was altered at line {number}: it is no entry; compare it with a copy") from None


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _write_all(file: int, content: bytes, at: int) -> None:
    while content:
        written = os.pwrite(file, content, at)
        content, at = content[written:], at + written
