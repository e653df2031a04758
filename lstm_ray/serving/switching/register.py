"""Where all replicas of a server learn which policies to serve, and bring what they counted. Knows no HTTP, no torch, no Ray.

Replicas ask and are answered when something changes (long polling); each loads and warms what it is told and says whether
it could. So a change goes in two steps: everyone gets the new policy ready while the old one answers, and only when all have
it is it named in the line-up. Where one cannot, nothing has changed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from lstm_ray.errors import InputError
from lstm_ray.live.names import key_of
from lstm_ray.model import stored
from lstm_ray.model.stored import Files
from lstm_ray.monitor.live import Monitor, Watched
from lstm_ray.monitor.traffic import Observed, Rows, Tally
from lstm_ray.registry.account import Account
from lstm_ray.registry.flags import flags_of
from lstm_ray.registry.lineup import Lineup
from lstm_ray.registry.policies import Registry
from lstm_ray.registry.probation import Running
from lstm_ray.serving.switching.beside import Beside
from lstm_ray.serving.switching.change import Change, ended, made, version_of, wanted
from lstm_ray.serving.switching.fits import require_fit
from lstm_ray.serving.switching.followers import SILENT_SECONDS, Followers, until
from lstm_ray.serving.switching.keeping import Keeping
from lstm_ray.serving.switching.noticed import Noticed, left, lost

__all__ = ["Change", "Register"]

POLL_SECONDS = 2.0
"""A replica's question is answered after so long even where nothing has changed."""
READY_SECONDS = 120.0
"""For a policy to be loaded and warmed by everyone."""
SWAP_SECONDS = 30.0
KEEP_SECONDS = 20.0
"""How a probation stands is written down so often."""
LOOK_SECONDS = 5.0
"""Alarms that begin and clear are noticed so often."""
ITSELF = "the server itself"
_log = logging.getLogger(__name__)


class Register:
    """One server's line-up, the replicas that follow it, and a monitor for each policy in it.

    Args:
        folder: of its history.
        session: of the serving process, see ``history.Account``.
        source, version: of the policy to begin with, laid into the folder before.
        on_champion: called with the files of a new champion once every replica has taken it.
        on_forget: called with the name of a series to forget; returns how many streams there were of it.
        settings: fields of the section monitor that hold for every policy, whatever its own config says.
    """

    def __init__(
        self,
        folder: Path,
        session: str,
        source: str,
        version: str,
        on_champion: Callable[[Files], Awaitable[None]] | None = None,
        on_forget: Callable[[str], Awaitable[int]] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self._registry = Registry(folder, session)
        self._account = self._registry.begin(source, version)
        self._on_champion, self._on_forget, self._settings = on_champion, on_forget, dict(settings or {})
        self._rows = Keeping(folder)
        self._followers = Followers()
        self._judging: asyncio.Task[None] | None = None
        self._ticked = self._kept = self._noticed_at = time.monotonic()
        self._noticed, self._before = Noticed(), left(self._registry.ledger.read())
        for one in self._before:
            self._registry.note(self._account, "cleared", lost(one), ITSELF)
        self._unwritten = self._unsaid = ""
        self._monitors: dict[str, Monitor] = {}
        self._beside = Beside(self._monitors, lambda: self._account)
        self._changed = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()

    def close(self) -> None:
        """Let another register have the folder."""
        self._rows.close()
        self._registry.close()

    async def lineup(self, replica: str) -> Lineup:
        """For a replica that starts."""
        self._followers.seen(replica)
        return self._account.lineup

    async def wait(self, replica: str, sequence: int) -> Lineup:
        """The line-up as soon as it is another than the one of this number, or as it is after POLL_SECONDS."""
        self._followers.seen(replica, sequence)
        if self._account.lineup.sequence == sequence:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), POLL_SECONDS)
        self._tick()
        return self._account.lineup

    async def took(self, replica: str, sequence: int, error: str = "") -> None:
        """A replica serves this line-up, or says why it does not."""
        self._followers.took(replica, sequence, error)

    async def left(self, replica: str) -> None:
        self._followers.left(replica)

    async def files(self, version: str) -> Files:
        """Raises InputError where the policy is not kept here, or its files were altered."""
        return self._registry.files(version)

    async def watch(self, watched: Watched) -> None:
        """A policy's account begins, where it has not yet."""
        watched = replace(watched, settings=watched.settings.model_copy(update=self._settings))
        self._monitors.setdefault(watched.version, Monitor(watched))
        self._beside.watch(watched)
        if watched.version == self._account.lineup.champion:
            self._rows.watch(watched)

    async def merge(self, version: str, tally: Tally) -> bool:
        """Take in what a replica counted. False where the policy is not watched."""
        if (monitor := self._monitors.get(version)) is not None:
            monitor.merge(tally)
            self._beside.merge(version, tally)
            # What a shadow is asked, the champion was asked too.
            if version != self._account.lineup.shadow:
                await self._rows.met(self._beside.watched(version), tally.rows, tally.lost_steps)
        return monitor is not None

    async def measured(self, version: str, told: Sequence[Rows]) -> Observed | None:
        """Take in what was observed, and say what came of it. None where the policy is not watched.

        Args:
            version: of the policy whose columns the rows have, the champion.
        """
        if version not in self._monitors:
            return None
        scored = sum([await self.observe(version, rows) for rows in told])
        added = await self._rows.measured(self._beside.watched(version), told)
        if added is None:
            return Observed(scored)
        kept = {name: value for name, value in vars(added).items() if name != "jumps"}
        return Observed(scored, **kept)

    async def forget(self, series: str) -> dict[str, int]:
        """Delete what is kept of a series; returns how many rows and streams there were. Raises InputError where the disk
        fails."""
        for monitor in self._monitors.values():
            monitor.forget(series)
        self._beside.forget(series)
        streams = await self._on_forget(series) if self._on_forget is not None else 0
        return {"rows": await self._rows.forget(series), "streams": streams}

    async def flags(self, version: str) -> list[str]:
        """What must be known of a policy."""
        kept = self._account.kept(version)
        return [*(kept.flags if kept is not None else ()), *flags_of(self._registry.folder, version)]

    async def name_key(self) -> str:
        """By which names of series are hashed in logs."""
        return key_of(self._registry.folder)

    async def observe(self, version: str, rows: Rows) -> int:
        """Hold truth against what the policies of the line-up predicted; returns how many values of this one's were scored.

        Args:
            version: of the policy whose columns the rows have, the champion.
        """
        monitor = self._monitors.get(version)
        if monitor is None:
            return 0
        self._beside.observe(version, rows)
        return monitor.observe(rows)

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
            found |= {"probation": self._probation(), "alarms_before": self._before}
            found["rows"] = await self._rows.summary()
        return found

    async def status(self) -> dict[str, Any]:
        """The line-up, the policies kept and the replicas, as plain values."""
        account, followers = self._account, self._followers
        errors = [*followers.errors(), *filter(None, (self._unwritten, self._unsaid))]
        return {
            **account.told(),
            "probation": self._probation(),
            "registry": str(self._registry.folder),
            "replicas": len(followers.present()),
            "behind": len(followers.behind(account.lineup.sequence)),
            "errors": errors,
        }

    def _probation(self) -> dict[str, Any] | None:
        """The champion's as it stands, else how the last one ended; None where there was none."""
        running = self._account.running
        return self._account.ended if running is None else {**running.told(), "state": "on probation"}

    async def change(self, change: Change) -> dict[str, Any]:
        """Bring every replica to what is asked, and say how long it took.

        Raises InputError where that cannot be; then all is as it was.
        """
        return await self._change(change)

    async def _change(self, change: Change, on_disk: bool = True) -> dict[str, Any]:
        """``on_disk`` False: it is made even where it cannot be written down; that is then tried again and again."""
        async with self._one_at_a_time:
            before = self._account.model_copy(deep=True)
            began = time.monotonic()
            try:
                await until(
                    self._followers.present, "no replica has answered; look at Ray's serve logs", SILENT_SECONDS
                )
                lineup, champions = self._wanted(change)
                if new := set(lineup.versions) - set(before.lineup.versions):
                    await self._prepare(new.pop())
                ready = time.monotonic()
                answered = self._beside.answered(before.lineup.champion)
                self._announce(made(change, self._account, self._registry, (lineup, champions), answered), on_disk)
            except BaseException as error:
                # What was kept stays kept; what is served is what was.
                if self._account.lineup != before.lineup:
                    self._announce(self._account.model_copy(update={"lineup": before.lineup}))
                if isinstance(error, InputError):
                    self._refused(change, str(error))
                raise
            await until(lambda: not self._followers.behind(self._account.lineup.sequence), "", SWAP_SECONDS)
            swapped = time.monotonic()
            self._say()
            warning = await self._tell_champion() if lineup.champion != before.lineup.champion else ""
            for gone in set(self._monitors) - set(lineup.versions):
                del self._monitors[gone]
            return {
                **await self.status(),
                "warning": warning,
                "ready_seconds": round(ready - began, 3),
                "swap_seconds": round(swapped - ready, 3),
            }

    def _refused(self, change: Change, why: str) -> None:
        """Have the ledger say that a policy was brought and did not come in."""
        if change.files is None and not change.version:
            return
        policy = stored.version(change.files) if change.files is not None else change.version
        evidence = {"policy": policy, "role": change.role, "source": change.source, "why": why, **change.evidence}
        self._registry.note(self._account, "refused", evidence, change.who)
        self._say()

    async def keep(self, files: Files, source: str, event: str, evidence: Mapping[str, Any], who: str = "") -> str:
        """Keep a policy as the challenger, served by nobody; returns its version. The ledger is told the event, such as
        ``judged`` or ``refused``. Raises InputError where it cannot be written."""
        async with self._one_at_a_time:
            account = self._copied()
            version = self._registry.challenge(account, files, source, event, evidence, who)
            self._account = account
            self._say()
            return version

    async def flag(self, version: str, words: str, event: str, evidence: Mapping[str, Any], who: str = "") -> None:
        """Say of a policy what must be known of it. Raises InputError where it cannot be written."""
        async with self._one_at_a_time:
            account = self._copied()
            self._registry.flag(account, version, words)
            self._registry.note(account, event, {"policy": version, "flag": words, **evidence}, who)
            self._registry.write(account)
            self._account = account
            self._say()

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
        account = self._account
        if change.end:
            return ended(change, account.lineup), account.champions
        if change.files is not None:
            version = self._registry.keep(account, change.files, change.source)
        else:
            version = version_of(change, account)
        require_fit(self._registry.files(account.lineup.champion), self._registry.files(version), change.force)
        return wanted(change, account, version)

    async def _prepare(self, version: str) -> None:
        """Have every replica load a policy. Raises InputError with what one of them says against it."""
        held = self._account.lineup.model_copy(update={"held": version})
        self._announce(self._account.model_copy(update={"lineup": held}))
        sequence = self._account.lineup.sequence
        words = f"not every replica had policy {version[:12]} ready after {READY_SECONDS:g} s; nothing was changed"
        followers = self._followers
        await until(lambda: followers.errors(sequence) or not followers.behind(sequence), words, READY_SECONDS)
        if errors := followers.errors(sequence):
            raise InputError(f"policy {version[:12]} was refused, and what was served goes on: {errors[0]}")

    def _announce(self, account: Account, on_disk: bool = True) -> None:
        """Tell everyone, once it is on disk: a register that restarts says the same."""
        following = {"sequence": self._account.lineup.sequence + 1}
        account = account.model_copy(update={"lineup": account.lineup.model_copy(update=following)})
        try:
            self._registry.write(account)
            self._unwritten = ""
        except InputError as error:
            if on_disk:
                raise
            self._unwritten = str(error)
        self._account = account
        self._changed.set()
        self._changed = asyncio.Event()

    def _copied(self) -> Account:
        """To change and write, and only then to have. A trial goes on counting in the one there is."""
        account = self._account.model_copy(deep=True)
        account.running = self._account.running
        return account

    def _say(self) -> None:
        """Have the ledger take what it is to be told; what it cannot take now it is told later."""
        try:
            self._registry.say(self._account)
            self._unsaid = ""
        except InputError as error:
            _log.exception("the ledger was not written")
            self._unsaid = str(error)

    def _tick(self) -> None:
        """Let a probation's time pass, and end it where it is told. Replicas ask every POLL_SECONDS and call this."""
        self._rows.sweep()
        passed, self._ticked = time.monotonic() - self._ticked, time.monotonic()
        running = self._account.running
        if running is not None:
            # While no replica asks, nothing is on trial.
            running.seconds += min(passed, POLL_SECONDS)
            if (self._judging is None or self._judging.done()) and (running.breach() or running.passed()):
                self._judging = asyncio.create_task(self._judge(running))
        if time.monotonic() - self._noticed_at > LOOK_SECONDS:
            self._notice()
        if time.monotonic() - self._kept > KEEP_SECONDS and (running is not None or self._unwritten or self._unsaid):
            self._kept = time.monotonic()
            with suppress(InputError):
                self._registry.write(self._account)
                self._unwritten = ""
            self._say()

    def _notice(self) -> None:
        """Have the ledger say which alarms of the champion have begun or cleared."""
        self._noticed_at, champion = time.monotonic(), self._account.lineup.champion
        monitor = self._monitors.get(champion)
        for event, evidence in self._noticed.look(champion, monitor.alarms() if monitor else (), self._noticed_at):
            self._registry.note(self._account, event, evidence, ITSELF)
        if self._account.notes:
            self._say()

    async def _judge(self, running: Running) -> None:
        """End a probation: back to the champion before, or on without it."""
        why, trial = running.breach(), {"by": "probation", "probation": running.told()}
        if why:
            change = Change("rollback", version=running.against, who=ITSELF, evidence={"why": why, **trial}, force=True)
        else:
            few = running.values < running.probation.values
            words = (
                f"only {running.values} values were observed, too few to tell" if few else "it stayed within its bounds"
            )
            why = f"passed: {words}"
            change = Change(
                "shadow",
                end=True,
                who=ITSELF,
                evidence={"role": "probation", "policy": running.policy, "why": why, **trial},
            )
        try:
            await self._change(change, on_disk=False)
            _log.warning("probation of policy %s: %s", running.policy[:12], why)
        except InputError:
            # No replica answers, say: it is tried again when one asks.
            _log.exception("the probation of policy %s could not be ended", running.policy[:12])
