"""Where all replicas of a server learn which policies to serve, and bring what they counted. Knows no HTTP, no torch, no Ray.

Replicas ask and are answered when something changes (long polling); each loads and warms what it is told and says whether
it could. So a change goes in two steps: everyone gets the new policy ready while the old one answers, and only when all have
it is it named in the line-up. Where one cannot, nothing has changed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lstm_ray.errors import InputError
from lstm_ray.model.stored import POLICY, Files
from lstm_ray.monitor.live import Monitor, Watched
from lstm_ray.monitor.traffic import Rows, Tally
from lstm_ray.registry.lineup import Lineup
from lstm_ray.registry.policies import Registry, meant
from lstm_ray.serving.switching.fits import breaks

POLL_SECONDS = 2.0
"""A replica's question is answered after so long even where nothing has changed."""
SILENT_SECONDS = 8.0
"""A replica that has not asked for so long is not waited for; it takes over the line-up when it comes back."""
READY_SECONDS = 120.0
"""For a policy to be loaded and warmed by everyone."""
SWAP_SECONDS = 30.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Change:
    """What is asked of a server; one thing at a time."""

    role: str
    """What a policy becomes, ``champion``, ``canary`` or ``shadow``; or ``rollback``: the champion as it was before."""
    files: Files | None = None
    """Of the policy. None: the one meant by ``version``, or that has the role already."""
    source: str = ""
    version: str = ""
    """How the version of a policy kept here begins. Empty for a rollback: the champion before this one."""
    share: float = 0.0
    end: bool = False
    """The role ends: there is no canary, or no shadow, from now on."""
    force: bool = False
    """Also where clients of the present champion will have to change what they send."""


@dataclass
class _Replica:
    seen: float
    sequence: int = 0
    error: str = ""


class Register:
    """One server's line-up, the replicas that follow it, and a monitor for each policy in it.

    Args:
        folder: of its history.
        session: of the serving process, see ``history.Account``.
        source, version: of the policy to begin with, laid into the folder before.
        on_champion: called with the files of a new champion once every replica has taken it.
    """

    def __init__(
        self,
        folder: Path,
        session: str,
        source: str,
        version: str,
        on_champion: Callable[[Files], Awaitable[None]] | None = None,
    ) -> None:
        self._registry = Registry(folder, session)
        self._account = self._registry.begin(source, version)
        self._on_champion = on_champion
        self._replicas: dict[str, _Replica] = {}
        self._monitors: dict[str, Monitor] = {}
        self._changed = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()

    def close(self) -> None:
        """Let another register have the folder."""
        self._registry.close()

    async def lineup(self, replica: str) -> Lineup:
        """For a replica that starts."""
        self._seen(replica)
        return self._account.lineup

    async def wait(self, replica: str, sequence: int) -> Lineup:
        """The line-up as soon as it is another than the one of this number, or as it is after POLL_SECONDS."""
        self._seen(replica)
        if self._account.lineup.sequence == sequence:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), POLL_SECONDS)
        return self._account.lineup

    async def took(self, replica: str, sequence: int, error: str = "") -> None:
        """A replica serves this line-up, or says why it does not."""
        found = self._seen(replica)
        found.sequence, found.error = sequence, error

    async def left(self, replica: str) -> None:
        self._replicas.pop(replica, None)

    async def files(self, version: str) -> Files:
        """Raises InputError where the policy is not kept here, or its files were altered."""
        return self._registry.files(version)

    async def watch(self, watched: Watched) -> None:
        """A policy's account begins, where it has not yet."""
        self._monitors.setdefault(watched.version, Monitor(watched))

    async def merge(self, version: str, tally: Tally) -> bool:
        """Take in what a replica counted. False where the policy is not watched."""
        if (monitor := self._monitors.get(version)) is not None:
            monitor.merge(tally)
        return monitor is not None

    async def observe(self, version: str, rows: Rows) -> int:
        monitor = self._monitors.get(version)
        return monitor.observe(rows) if monitor is not None else 0

    async def summary(self, version: str) -> dict[str, Any]:
        """A policy's account; the champion's with those of the policies beside it."""
        monitors, lineup = self._monitors, self._account.lineup
        found = monitors[version].summary() if version in monitors else {}
        if version == lineup.champion:
            if lineup.canary in monitors:
                found["canary"] = {"share": lineup.share, **monitors[lineup.canary].summary()}
            if lineup.shadow in monitors:
                shadow = monitors[lineup.shadow]
                found["shadow"] = {**shadow.summary(), "compared": shadow.compared()}
        return found

    async def status(self) -> dict[str, Any]:
        """The line-up, the policies kept and the replicas, as plain values."""
        account, behind = self._account, self._behind(self._account.lineup.sequence)
        return {
            "lineup": account.lineup.model_dump(),
            "policies": [kept.model_dump() for kept in account.policies],
            "champions": list(account.champions),
            "replicas": len(self._present()),
            "behind": len(behind),
            "errors": sorted({found.error for found in self._present().values() if found.error}),
        }

    async def change(self, change: Change) -> dict[str, Any]:
        """Bring every replica to what is asked, and say how long it took.

        Raises InputError where that cannot be; then all is as it was.
        """
        async with self._one_at_a_time:
            before = self._account.model_copy(deep=True)
            began = time.monotonic()
            try:
                await self._until(self._present, "no replica has answered; look at Ray's serve logs", SILENT_SECONDS)
                wanted, champions = self._wanted(change)
                if new := set(wanted.versions) - set(before.lineup.versions):
                    await self._prepare(new.pop())
            except BaseException:
                # What was kept stays kept; what is served is what was.
                if self._account.lineup != before.lineup:
                    self._announce(before.lineup, before.champions)
                raise
            ready = time.monotonic()
            self._announce(wanted, champions)
            await self._until(lambda: not self._behind(self._account.lineup.sequence), "", SWAP_SECONDS)
            swapped = time.monotonic()
            warning = await self._tell_champion() if wanted.champion != before.lineup.champion else ""
            for gone in set(self._monitors) - set(wanted.versions):
                del self._monitors[gone]
            return {
                **await self.status(),
                "warning": warning,
                "ready_seconds": round(ready - began, 3),
                "swap_seconds": round(swapped - ready, 3),
            }

    async def _tell_champion(self) -> str:
        """Have what follows the champion beside the replicas take it too, or say why it does not."""
        if self._on_champion is None:
            return ""
        try:
            await self._on_champion(self._registry.files(self._account.lineup.champion))
        except Exception as error:  # the swap is made; whoever asked for it is told
            _log.exception("the new champion is not followed everywhere")
            return f"streams go on with the champion before: {str(error).strip().splitlines()[-1]}"
        return ""

    def _wanted(self, change: Change) -> tuple[Lineup, list[str]]:
        """The line-up that a change asks for, and the champions' order after it. A policy that it brings is kept."""
        lineup, champions = self._account.lineup, list(self._account.champions)
        if change.end:
            ended = {"canary": None, "share": 0.0} if change.role == "canary" else {"shadow": None}
            if getattr(lineup, change.role) is None:
                raise InputError(f"there is no {change.role} to end")
            return lineup.model_copy(update=ended), champions
        version = self._version(change)
        self._require_fit(version, change.force)
        beside = {role: getattr(lineup, role) for role in ("canary", "shadow") if getattr(lineup, role) != version}
        rest = Lineup(
            sequence=lineup.sequence,
            champion=lineup.champion,
            **beside,
            share=lineup.share if beside.get("canary") else 0.0,
        )
        if change.role in ("champion", "rollback"):
            if version == lineup.champion:
                raise InputError(f"policy {version[:12]} is the champion already")
            order = (
                champions[: champions.index(version) + 1]
                if change.role == "rollback" and version in champions
                else None
            )
            return rest.model_copy(update={"champion": version}), order or [*champions, version]
        if version == lineup.champion:
            raise InputError(f"policy {version[:12]} is the champion; a {change.role} is another policy")
        named = {"canary": version, "share": change.share} if change.role == "canary" else {"shadow": version}
        return rest.model_copy(update=named), champions

    def _version(self, change: Change) -> str:
        if change.files is not None:
            return self._registry.keep(self._account, change.files, change.source)
        if change.version:
            return meant(change.version, self._account.policies)
        if change.role == "rollback":
            if len(self._account.champions) < 2:
                raise InputError("there is no champion before this one to go back to")
            return self._account.champions[-2]
        role = "canary" if change.role == "champion" else change.role
        found: str | None = getattr(self._account.lineup, role)
        if found is None:
            raise InputError(f"there is no {role}; name a run directory or a policy's folder")
        return found

    def _require_fit(self, version: str, force: bool) -> None:
        """Raises InputError where clients of the champion could not go on as they are."""
        present, new = (json.loads(self._registry.files(v)[POLICY]) for v in (self._account.lineup.champion, version))
        if not force and (found := breaks(present, new)):
            raise InputError(
                f"clients of policy {self._account.lineup.champion[:12]} would break: policy {version[:12]} "
                f"{'; it '.join(found)}. Add --force where they are ready for that, or serve it beside, with a port of its own"
            )

    async def _prepare(self, version: str) -> None:
        """Have every replica load a policy. Raises InputError with what one of them says against it."""
        self._announce(self._account.lineup.model_copy(update={"held": version}), self._account.champions)
        sequence = self._account.lineup.sequence
        words = f"not every replica had policy {version[:12]} ready after {READY_SECONDS:g} s; nothing was changed"
        await self._until(lambda: self._errors(sequence) or not self._behind(sequence), words, READY_SECONDS)
        if errors := self._errors(sequence):
            raise InputError(f"policy {version[:12]} was refused, and what was served goes on: {errors[0]}")

    def _announce(self, lineup: Lineup, champions: list[str]) -> None:
        """Tell everyone, once it is on disk: a register that restarts says the same."""
        following = {"sequence": self._account.lineup.sequence + 1}
        account = self._account.model_copy(
            update={"lineup": lineup.model_copy(update=following), "champions": champions}
        )
        self._registry.write(account)
        self._account = account
        self._changed.set()
        self._changed = asyncio.Event()

    def _seen(self, replica: str) -> _Replica:
        found = self._replicas.setdefault(replica, _Replica(0.0))
        found.seen = time.monotonic()
        return found

    def _present(self) -> dict[str, _Replica]:
        now = time.monotonic()
        return {name: found for name, found in self._replicas.items() if now - found.seen < SILENT_SECONDS}

    def _behind(self, sequence: int) -> list[str]:
        return [name for name, found in self._present().items() if found.sequence != sequence]

    def _errors(self, sequence: int) -> list[str]:
        return [found.error for found in self._present().values() if found.sequence == sequence and found.error]

    async def _until(self, holds: Callable[[], Any], words: str, seconds: float) -> None:
        """Wait. Raises InputError with the words where that takes too long; goes on where there are none."""
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                if words:
                    raise InputError(words)
                return
            await asyncio.sleep(0.01)
