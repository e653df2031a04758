"""What is live of a run without a series: rows and streams, through the server that holds them or in its place."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lstm_ray.errors import InputError
from lstm_ray.live.rows import FILE, RowStore
from lstm_ray.on_ray import update
from lstm_ray.registry import flags
from lstm_ray.registry.account import read
from lstm_ray.registry.folder import at
from lstm_ray.serving.streams.store import Store

FOREVER_SECONDS, MOST_ROWS = float("inf"), 2**62


@dataclass(frozen=True)
class Live:
    """What was forgotten."""

    rows: int
    streams: int
    url: str
    """Of the server that was asked; empty where none runs."""


def forget(run: Path, series: str, streams: Path) -> Live:
    """Have live rows and streams of a series deleted for good.

    Args:
        streams: the folder of the streams' files.

    Raises InputError where a process holds them that cannot be asked, or the disk fails.
    """
    folder = at(run)
    if (holder := update.holder(folder)) is not None:
        found = update.reach(holder, "forget", series)
        return Live(found["rows"], found["streams"], holder.url)
    if not folder.exists():
        return Live(0, _streams(streams, series), "")
    with update.registry_of(folder):
        return Live(_rows(folder / FILE, series), _streams(streams, series), "")


def flag(run: Path, version: str, words: str, evidence: Mapping[str, Any]) -> None:
    """Flag a policy, kept in the registry or not. Raises InputError as ``update.flag`` does."""
    account = read(at(run))
    if account is not None and account.kept(version) is not None:
        update.flag(run, version, words, "forgotten", evidence)
        return
    flags.flag(at(run), version, words)


def _rows(file: Path, series: str) -> int:
    if not file.exists():
        return 0
    store = RowStore(file, FOREVER_SECONDS, MOST_ROWS)
    try:
        return store.forget(series)
    except (sqlite3.Error, OSError) as error:
        raise InputError(f"rows in '{file}' could not be deleted: {error}; mend that and ask again") from None
    finally:
        store.close()


def _streams(folder: Path, series: str) -> int:
    number = 0
    for file in sorted(folder.glob("shard-*.sqlite")):
        store = Store(file)
        try:
            number += len(store.forget_series(series))
        except sqlite3.Error as error:
            raise InputError(f"streams in '{file}' could not be deleted: {error}; mend that and ask again") from None
        finally:
            store.close()
    return number
