"""What-ifs for labels of steps: which stretches are told, and with which inputs. Knows no torch and no Ray.

An item is a stretch of one segment: its segment, its first row and the one after its last, int64 [M, 3].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray import figure
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.steps import step_ranges
from lstm_ray.data.windows import Segments
from lstm_ray.figure import Figure
from lstm_ray.plan.scenarios import changed, touches
from lstm_ray.run_dir import Finding
from lstm_ray.sections.plan import ScenarioConfig


def stretches(segments: Segments, bounds: Boundaries) -> NDArray:
    """The validation part of every segment that reaches into it."""
    range_S2 = step_ranges(segments, bounds, "validation")
    held = np.flatnonzero(range_S2[:, 1] > range_S2[:, 0])
    return np.column_stack([held, range_S2[held]])


def ranges(segments: Segments, item_M3: NDArray) -> NDArray:
    """The items as a range of rows of every segment, empty in those without one, int64 [S, 2]."""
    range_S2 = np.repeat(segments.bounds[:-1, None], 2, axis=1)
    range_S2[item_M3[:, 0]] = item_M3[:, 1:]
    return range_S2


def under(segments: Segments, scenario: ScenarioConfig | None, item_M3: NDArray) -> Segments:
    """The segments with a scenario's change to the past inputs of the items' newest steps (all up to their end)."""
    if scenario is None:
        return segments
    past_RP = segments.past_RP.copy()
    for segment, _, end in item_M3:
        if touches(scenario, segments.series[segment]):
            rows = slice(segments.bounds[segment], end)
            past_RP[rows] = changed(past_RP[rows], segments.schema.past, scenario)
    return replace(segments, past_RP=past_RP)


def value_effects(found: Mapping[str, NDArray], label: str) -> tuple[dict[str, Any], list[Figure], list[Finding]]:
    """How each scenario moves the values that are told; ``found`` has the base first, [M, 1] each."""
    base = found["base"].mean()
    rows: list[list[Any]] = []
    findings = []
    for name, value_M1 in found.items():
        moved = float(np.abs(value_M1 - found["base"]).mean())
        rows.append([name, float(value_M1.mean()), float(value_M1.mean() - base), moved])
        if name != "base":
            text = f"If {name}, '{label}' moves by {value_M1.mean() - base:+.4g} on average, {moved:.4g} in size."
            findings.append(Finding(severity="info", text=text))
    columns = ["scenario", f"mean {label}", "less the base's", "mean size of the change"]
    table = {"title": "What-if", "columns": columns, "rows": rows, "caption": "Over every validation step."}
    bars = figure.bars(
        "scenarios",
        "Labels by scenario",
        f"Mean over {len(found['base']):,} validation steps; the base's is {base:.4g}.",
        list(found),
        {f"mean {label}": [row[1] for row in rows]},
        y_title=label,
    )
    return table, [bars], findings
