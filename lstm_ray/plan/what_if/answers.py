"""What scenarios do to answers: probabilities of classes, or values of steps. Knows no torch and no Ray.

Shapes: M sequences or steps, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray import figure
from lstm_ray.evaluate.skill import mean_interval
from lstm_ray.figure import Figure
from lstm_ray.plan.what_if.statements import words_of
from lstm_ray.run_dir import Finding
from lstm_ray.sections.scenario import ScenarioConfig

MOST_CLASSES = 8
"""Classes that are told one by one: those that scenarios move most."""


def class_effects(
    found: Mapping[str, NDArray],
    classes: Sequence[str],
    unit: str,
    step_M: NDArray,
    dependence_steps: int,
    scenarios: Sequence[ScenarioConfig],
) -> tuple[dict[str, Any], list[Figure], list[Finding]]:
    """How each scenario moves the mean probability of each class.

    Args:
        found: by scenario, the base among them, [M, K].
        unit: what an answer is of, such as ``step``.
        step_M: when, on the common time axis; intervals leave out blocks of it (``evaluate.skill``).
        dependence_steps: how far apart answers may still depend on the same inputs.
    """
    base_MK, mean = found["base"], {name: probability_MK.mean(0) for name, probability_MK in found.items()}
    moved_K = np.max([np.abs(mean_K - mean["base"]) for mean_K in mean.values()], axis=0)
    shown = np.sort(np.argsort(-moved_K, kind="stable")[:MOST_CLASSES])
    rows: list[list[Any]] = [["base", *map(float, mean["base"][shown]), None, None, None, 0.0]]
    findings = []
    for scenario in scenarios:
        probability_MK = found[scenario.name]
        most = int(np.abs(mean[scenario.name] - mean["base"]).argmax())
        move, interval = _moved(probability_MK[:, most], base_MK[:, most], step_M, dependence_steps)
        changed = float((probability_MK.argmax(1) != base_MK.argmax(1)).mean())
        told = map(float, mean[scenario.name][shown])
        rows.append([scenario.name, *told, classes[most], move, _words(interval), changed])
        text = f"If {scenario.name} ({words_of(scenario)}), '{classes[most]}' becomes {'more' if move > 0 else 'less'} likely, "
        text += f"by {abs(move):.3f} on average"
        text += f" (95 % interval of the change {_words(interval)})" if interval else ""
        findings.append(
            _finding(f"{text}, and {changed:.1%} of decisions change.", scenario, move == 0 and changed == 0)
        )
    names = [f"probability of {classes[k]}" for k in shown]
    caption = (
        f"Mean over {len(base_MK):,} validation {unit}s; the class moved most, and the 95 % interval of its change."
    )
    table = {
        "title": "What-if",
        "columns": ["scenario", *names, "most moved", "change", "95 % interval", "decisions changed"],
        "rows": rows,
        "caption": caption,
    }
    first = int(shown[0])
    bars = figure.bars(
        "scenarios",
        "Class probability by scenario",
        f"Mean over {len(base_MK):,} validation {unit}s; the base gives '{classes[first]}' {mean['base'][first]:.1%}.",
        list(found),
        {classes[k]: [float(mean_K[k]) for mean_K in mean.values()] for k in shown},
        y_title="mean probability",
    )
    return table, [bars], findings


def value_effects(
    found: Mapping[str, NDArray],
    label: str,
    step_M: NDArray,
    dependence_steps: int,
    scenarios: Sequence[ScenarioConfig],
) -> tuple[dict[str, Any], list[Figure], list[Finding]]:
    """How each scenario moves the values that are told, [M, 1] each; the arguments are those of ``class_effects``."""
    base_M = found["base"][:, 0]
    rows: list[list[Any]] = [["base", float(base_M.mean()), None, None, None]]
    findings = []
    for scenario in scenarios:
        value_M = found[scenario.name][:, 0]
        move, interval = _moved(value_M, base_M, step_M, dependence_steps)
        size = float(np.abs(value_M - base_M).mean())
        rows.append([scenario.name, float(value_M.mean()), move, _words(interval), size])
        text = f"If {scenario.name} ({words_of(scenario)}), '{label}' moves by {move:+.4g} on average"
        text += f" (95 % interval {_words(interval)})" if interval else ""
        findings.append(_finding(f"{text}, {size:.4g} in size.", scenario, size == 0))
    columns = ["scenario", f"mean {label}", "less the base's", "95 % interval", "mean size of the change"]
    table = {"title": "What-if", "columns": columns, "rows": rows, "caption": "Over every validation step."}
    bars = figure.bars(
        "scenarios",
        "Labels by scenario",
        f"Mean over {len(base_M):,} validation steps; the base's is {base_M.mean():.4g}.",
        list(found),
        {f"mean {label}": [row[1] for row in rows]},
        y_title=label,
    )
    return table, [bars], findings


def _moved(
    value_M: NDArray, base_M: NDArray, step_M: NDArray, dependence_steps: int
) -> tuple[float, tuple[float, float] | None]:
    mean, reach = mean_interval(value_M.astype(np.float64) - base_M, step_M, dependence_steps)
    return float(mean), None if reach is None else (float(mean - reach), float(mean + reach))


def _finding(text: str, scenario: ScenarioConfig, is_still: bool) -> Finding:
    if not is_still:
        return Finding(severity="info", text=text)
    advice = f"The policy does not react to '{scenario.column}' there; change more of it, or leave the scenario out."
    return Finding(
        severity="advice", text=f"If {scenario.name} ({words_of(scenario)}), no answer changes.", advice=advice
    )


def _words(interval: tuple[float, float] | None) -> str | None:
    return None if interval is None else f"{interval[0]:+.3g} to {interval[1]:+.3g}"
