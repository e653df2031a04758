"""What a check of an audit answers. Knows no check."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from lstm_ray.run_dir import Finding

Verdict = Literal["passed", "failed", "left out"]
TOPIC = "The audit"
SEVERITY: dict[Verdict, Literal["info", "warning"]] = {"passed": "info", "failed": "warning", "left out": "info"}


@dataclass(frozen=True)
class Check:
    """One check of one run."""

    name: str
    verdict: Verdict
    text: str
    """What was done and what came of it, with its numbers."""
    advice: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def finding(self) -> Finding:
        text = f"{self.name} ({self.verdict}): {self.text}"
        return Finding(severity=SEVERITY[self.verdict], text=text, advice=self.advice, topic=TOPIC)
