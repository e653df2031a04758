"""What a run knows beside its metrics that a model card tells: parts, machine, data, time, audit. Knows the run directory.

Whatever a run does not hold (an older one, one without an audit) is empty here, and left out of the card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lstm_ray.evaluate.told import AUDIT
from lstm_ray.report.card.lineage import lineage_of
from lstm_ray.run_dir import RunDir

RUN_STAGES = ("environment", "explore", "preprocess", "split", "train", "plan", "tune", "evaluate")
"""Those that make and judge a policy."""


@dataclass(frozen=True)
class Facts:
    """What is known of a run."""

    metrics: Mapping[str, Any]
    """``evaluate/metrics.json``."""
    times: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Each part's first and last time."""
    windows: Mapping[str, int] = field(default_factory=dict)
    """Of each part."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """``environment.json``."""
    rows: int | None = None
    """Of the source."""
    filled: Mapping[str, int] = field(default_factory=dict)
    """Values of each target that were filled."""
    missing: Mapping[str, float] = field(default_factory=dict)
    """Share of empty cells of each input in the source's rows."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """By stage, in order."""
    checks: Sequence[Mapping[str, Any]] = ()
    """Of an audit."""
    lineage: Mapping[str, Any] = field(default_factory=dict)
    """What its policy was made from."""


def facts_of(run: RunDir, metrics: Mapping[str, Any], evaluating: float | None = None) -> Facts:
    """What a run holds so far.

    Args:
        metrics: of the evaluation.
        evaluating: seconds that it took, where it does not lie in the run yet: what is there of an earlier one is left out.
    """

    def read(path: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = run.read_json(path) if run.exists(path) else {}
        return found

    split, prepared = read("split/boundaries.json"), read("preprocess/manifest.json")
    reports = {stage: run.report(stage) for stage in RUN_STAGES}
    took = {stage: report.wall_seconds for stage, report in reports.items() if report}
    if evaluating is not None:
        took["evaluate"] = evaluating
    return Facts(
        metrics=metrics,
        times=split.get("times", {}),
        windows=split.get("windows", {}),
        environment=read("environment.json"),
        rows=prepared.get("rows"),
        filled=prepared.get("imputed", {}),
        missing={name: number / prepared["rows"] for name, number in prepared.get("missing", {}).items()},
        seconds={stage: took[stage] for stage in RUN_STAGES if stage in took},
        checks=read(AUDIT).get("checks", ()) if evaluating is None else (),
        lineage=lineage_of(run) if evaluating is None else {},
    )
