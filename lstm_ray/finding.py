"""What a stage says of itself: a report with its findings. Knows neither files nor how it is shown."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Finding(BaseModel):
    """One thing a stage noticed."""

    model_config = ConfigDict(frozen=True)

    severity: Literal["info", "advice", "warning"]
    text: str
    """What was seen, with its numbers."""
    advice: str = ""
    """What to do about it, such as the YAML line that would act on it."""
    topic: str = ""
    """Heading that it stands under, with others."""


class Report(BaseModel):
    """What a stage says of itself, kept as its ``report.json``. Stages add fields of their own."""

    model_config = ConfigDict(extra="allow")

    stage: str
    summary: str
    """One sentence for the terminal and the top of the stage's section."""
    findings: list[Finding] = []
    validation: dict[str, float] | None = None
    """Metrics on the validation part, where the stage has a policy."""
    wall_seconds: float = 0.0
    fingerprint: str = ""
