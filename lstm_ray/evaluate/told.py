"""What an evaluation has to say, part by part: how each judge of a policy answers. Knows no model, no file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from lstm_ray.figure import Figure
from lstm_ray.run_dir import Finding

METRICS, CASES = "metrics.json", "cases.parquet"
"""Files that an evaluation leaves: all that was measured, and each model's error in each case."""
AUDIT = "evaluate/audit.json"
"""What ``lstm-ray evaluate --audit`` found, below a run."""
UNSEEN = "unseen"
"""Folder of a run that evaluations of its policy on new data go to."""


@dataclass(frozen=True)
class Told:
    """What one part of an evaluation found."""

    topic: str
    """Heading that its findings, figures and tables stand under."""
    findings: list[Finding] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    tables: list[dict[str, Any]] = field(default_factory=list)
    """As ``report.tables.TableData``."""
    details: dict[str, Any] = field(default_factory=dict)
    """More for metrics.json."""


@dataclass(frozen=True)
class Evaluation:
    """What was learned of the chosen policy on the test part."""

    summary: str
    num_windows: int
    metrics: dict[str, float | None]
    baselines: dict[str, dict[str, float | None]]
    scaled: dict[str, float | None]
    skill: float | None
    told: list[Told]
    """In the order in which a reader wants them."""
    cases: pa.Table | None = None
    """One row for each window (sequence, labelled step): ``series_id``, ``time``, and each model's error there."""

    @property
    def findings(self) -> list[Finding]:
        return [one.model_copy(update={"topic": part.topic}) for part in self.told for one in part.findings]

    @property
    def figures(self) -> list[Figure]:
        return [one.model_copy(update={"topic": part.topic}) for part in self.told for one in part.figures]

    @property
    def tables(self) -> list[dict[str, Any]]:
        return [{**one, "topic": part.topic} for part in self.told for one in part.tables]

    @property
    def details(self) -> dict[str, Any]:
        """All parts' details; no two may use one name."""
        found: dict[str, Any] = {}
        for part in self.told:
            assert not found.keys() & part.details.keys(), f"told twice: {found.keys() & part.details.keys()}"
            found |= part.details
        return found
