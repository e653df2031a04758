"""One process that keeps streams. Ray runs it, and starts it again where it dies: what it has answered lies in its file.

It imports no torch before its first stream, so a server of which nobody asks for one pays little for it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_ray.errors import InputError
from lstm_ray.serving.streams.store import Store

if TYPE_CHECKING:
    from lstm_ray.serving.streams.keeper import Keeper


class Shard:
    """The streams whose ids fall to it.

    Args:
        most: streams that it keeps.
        temporary: the file's folder is removed at the end.
    """

    def __init__(self, file: Path, most: int, idle_seconds: float, temporary: bool) -> None:
        self._file, self._most, self._idle_seconds, self._temporary = file, most, idle_seconds, temporary
        self._store: Store | None = None
        self._keeper: Keeper | None = None

    def use(self, files: dict[str, bytes]) -> None:
        """Read streams with this policy. Raises InputError where they cannot be kept here."""
        if self._keeper is not None:
            self._keeper.use(files)
        else:
            self._opened().policy = files

    def call(self, method: str, *arguments: Any) -> Any:
        """What a method of ``Keeper`` answers, or the error that its caller deserves."""
        try:
            return getattr(self._kept(), method)(*arguments)
        except (InputError, FloatingPointError) as error:
            return error
        except ValueError as error:
            # pydantic's, of a request that is neither one form nor the other.
            return error

    def forget_series(self, series: str) -> int:
        """As ``Keeper.forget_series``."""
        if self._keeper is not None:
            return self._keeper.forget_series(series)
        return len(self._opened().forget_series(series))

    def process(self) -> int:
        """Its id."""
        return os.getpid()

    def folder(self) -> Path:
        """Of its file."""
        return self._file.parent

    def end(self) -> None:
        """Write what is only in memory."""
        if self._keeper is not None:
            self._keeper.close()
        elif self._store is not None:
            self._store.close()
        if self._temporary:
            shutil.rmtree(self._file.parent, ignore_errors=True)

    def _opened(self) -> Store:
        # Not where it is made: Ray would start a process that cannot have its file again and again.
        if self._store is None:
            self._store = Store(self._file)
        return self._store

    def _kept(self) -> Keeper:
        if self._keeper is None:
            import torch

            from lstm_ray.serving.streams.keeper import Keeper

            torch.set_num_threads(1)
            self._keeper = Keeper(self._opened(), self._most, self._idle_seconds)
        return self._keeper


class Following:
    """Called with the files of a new champion, as the register does: every shard reads its streams with that."""

    def __init__(self, actors: Sequence[Any]) -> None:
        self._actors = list(actors)

    async def __call__(self, files: Mapping[str, bytes]) -> None:
        await asyncio.gather(*(actor.use.remote(dict(files)) for actor in self._actors))


class Forgetting:
    """Called with the name of a series, as the register does: every shard forgets its streams."""

    def __init__(self, actors: Sequence[Any]) -> None:
        self._actors = list(actors)

    async def __call__(self, series: str) -> int:
        return sum(await asyncio.gather(*(actor.forget_series.remote(series) for actor in self._actors)))
