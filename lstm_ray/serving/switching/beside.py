"""Truth for the policies beside the champion, and for its probation: held against them a moment after it came. Knows no Ray."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from lstm_ray.monitor.live import Monitor, Watched
from lstm_ray.monitor.traffic import Rows, Tally
from lstm_ray.registry.account import Account
from lstm_ray.registry.probation import Answered
from lstm_ray.serving.switching.trial import Trial, as_columns, count

LATE_SECONDS = 1.0
"""Truth is held against the policies beside the champion so much later: their answers to copies are then there."""


class Beside:
    """What a register feeds with all that replicas bring.

    Args:
        monitors: by version, of the policies in the line-up.
        account: as it is now.
    """

    def __init__(self, monitors: Mapping[str, Monitor], account: Callable[[], Account]) -> None:
        self._monitors, self._account = monitors, account
        self._watched: dict[str, Watched] = {}
        self._answered: dict[str, Answered] = {}
        self._trial: Trial | None = None

    def watch(self, watched: Watched) -> None:
        self._watched[watched.version] = watched

    def watched(self, version: str) -> Watched:
        return self._watched[version]

    def answered(self, version: str) -> Answered:
        """How a policy's predictions went since this register began."""
        return self._answered.setdefault(version, Answered())

    def merge(self, version: str, tally: Tally) -> None:
        """Take in what a replica counted of a policy that is watched."""
        count(self.answered(version), tally)
        if (trial := self.trial()) is not None:
            trial.merge(version, tally)
            if self._watched[version].task == "forecast":
                # The histories of later requests tell what earlier ones asked for.
                for rows in tally.rows:
                    self._later(self._try, version, rows)

    def observe(self, version: str, rows: Rows) -> None:
        """Hold truth against all but one policy, that it was brought to and whose columns it has."""
        self._later(self._observe, version, rows)

    def forget(self, series: str) -> None:
        if (trial := self.trial()) is not None:
            trial.forget(series)

    def trial(self) -> Trial | None:
        """The champion's probation, where it has one and is watched."""
        running = self._account().running
        if running is None or running.policy not in self._watched:
            return None
        if self._trial is None or self._trial.running is not running:
            self._trial = Trial(running, self._watched[running.policy])
        return self._trial

    def _later(self, what: Callable[[str, Rows], None], version: str, rows: Rows) -> None:
        asyncio.get_running_loop().call_later(LATE_SECONDS, what, version, rows)

    def _observe(self, version: str, rows: Rows) -> None:
        for other in self._account().lineup.versions:
            if other != version and other in self._monitors:
                columns = self._watched[other].columns
                self._monitors[other].observe(as_columns(rows, self._watched[version].columns, columns))
        self._try(version, rows)

    def _try(self, version: str, rows: Rows) -> None:
        if (trial := self.trial()) is not None:
            columns = self._watched[trial.running.policy].columns
            trial.observe(as_columns(rows, self._watched[version].columns, columns))
