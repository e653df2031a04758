"""What a check of the doctor answers, and what all of them together say. Knows no check."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["well", "warning", "wrong"]
SIGNS: dict[Verdict, str] = {"well": "✓", "warning": "!", "wrong": "✗"}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    verdict: Verdict
    text: str
    """What was found, with its numbers."""
    advice: str = ""
    """What mends it, in one line; empty where nothing has to be mended."""
    where: str = ""
    """Node that it is about; empty: this machine, or all of them."""

    @property
    def line(self) -> str:
        """Without its sign."""
        place = f" on {self.where}" if self.where else ""
        return f"{self.name}{place}: {self.text}" + (f"; {self.advice}" if self.advice else "")


def well(name: str, text: str, where: str = "") -> Check:
    return Check(name, "well", text, where=where)


def exit_code(checks: Iterable[Check]) -> int:
    """1 where something is wrong; a warning is none."""
    return int(any(check.verdict == "wrong" for check in checks))


def summary(checks: Sequence[Check]) -> str:
    """How many are of which kind."""
    num = {verdict: sum(check.verdict == verdict for check in checks) for verdict in SIGNS}
    return f"{num['well']} well, {num['warning']} to look at, {num['wrong']} wrong"
