"""Rollouts as numbers, tables, sentences and figures. Knows no torch and no Ray.

Shapes: M origins, W paths, S steps, C targets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray import figure
from lstm_ray.config import Config
from lstm_ray.data.windows import Segments
from lstm_ray.figure import Figure
from lstm_ray.plan.decide import Verdict
from lstm_ray.run_dir import Finding

LOW, HIGH = 0.1, 0.9


def effects(
    futures: Mapping[str, NDArray], segments: Segments, origin_M: NDArray, config: Config
) -> dict[str, dict[str, Any]]:
    """Each scenario's difference from the base, by target: over paths paired by their draws.

    The interval is the middle 80 % of origins; a scenario with all of it on one side moves the forecast one way.
    """
    found: dict[str, dict[str, Any]] = {}
    names = np.array([segments.series[s] for s in segments.series_of(origin_M)])
    for name, future in futures.items():
        if name == "base":
            continue
        difference_MSC = (future - futures["base"]).mean(1)
        by_target = {}
        for c, target in enumerate(segments.schema.target):
            mean_M = difference_MSC[:, :, c].mean(1)
            by_series = {str(s): float(mean_M[names == s].mean()) for s in np.unique(names)}
            by_target[target] = {
                "mean": float(mean_M.mean()),
                "low": float(np.quantile(mean_M, LOW)),
                "high": float(np.quantile(mean_M, HIGH)),
                "first_step": float(difference_MSC[:, 0, c].mean()),
                "last_step": float(difference_MSC[:, -1, c].mean()),
                "by_step": figure.plain(difference_MSC[:, :, c].mean(0)),
                "most_affected": max(by_series, key=lambda s: abs(by_series[s])),
            }
        found[name] = by_target
    return found


def band_coverage(future_MWSC: NDArray, actual_MSC: NDArray, observed_MSC: NDArray) -> float:
    """Share of measured values inside the middle 80 % of the paths."""
    # By ranks: the plain quantiles of a few paths lie too far inside them to hold what they say they hold.
    low, high = np.quantile(future_MWSC, [LOW, HIGH], axis=1, method="weibull")
    inside = (actual_MSC >= low) & (actual_MSC <= high)
    return float((inside * observed_MSC).sum() / max(1.0, observed_MSC.sum()))


def effect_findings(found: Mapping[str, Mapping[str, Any]], config: Config) -> list[Finding]:
    """One sentence for each scenario: what it does to the first target."""
    findings = []
    for scenario in config.plan.scenarios:
        for target, effect in list(found[scenario.name].items())[:1]:
            where = (
                f"'{target}' moves by {effect['mean']:+.3g} on average ({effect['low']:+.3g} to {effect['high']:+.3g})"
            )
            if effect["low"] * effect["high"] <= 0:
                where += ", in no steady direction"
            text = f"If {scenario.name} ({scenario.column} {scenario.operation} {scenario.value:g}), {where}."
            findings.append(Finding(severity="info", text=text))
    return findings


def effect_tables(found: Mapping[str, Mapping[str, Any]], targets: list[str]) -> list[dict[str, Any]]:
    if not found:
        return []
    columns = ["scenario", "target", "mean effect", "low", "high", "first step", "last step", "most affected"]
    keys = ("mean", "low", "high", "first_step", "last_step", "most_affected")
    rows = [[name, target, *(effect[k] for k in keys)] for name, by in found.items() for target, effect in by.items()]
    caption = (
        "Difference from the base on the same draws, in the target's units; low and high hold 80 % of the origins."
    )
    return [{"title": "What-if", "columns": columns, "rows": rows, "caption": caption}]


def rollout_figures(
    futures: Mapping[str, NDArray],
    actual_MSC: NDArray,
    observed_MSC: NDArray,
    segments: Segments,
    origin_M: NDArray,
    found: Mapping[str, Mapping[str, Any]],
) -> list[Figure]:
    """A fan chart of one origin, the effect of each scenario by lead, and their order."""
    middle = len(origin_M) // 2
    steps = futures["base"].shape[2]
    times = segments.times(origin_M[middle] + np.arange(1, steps + 1))
    base_WS = futures["base"][middle, :, :, 0]
    target, series = (
        segments.schema.target[0],
        segments.series[int(segments.series_of(origin_M[middle : middle + 1])[0])],
    )
    low_S, high_S = np.quantile(base_WS, [LOW, HIGH], axis=0, method="weibull")
    truth_S = np.where(observed_MSC[middle, :, 0] > 0, actual_MSC[middle, :, 0], np.nan)
    shown = {"what happened": truth_S, "base": base_WS.mean(0)}
    shown |= {name: future[middle, :, :, 0].mean(0) for name, future in futures.items() if name != "base"}
    figures = [
        figure.lines(
            "fan",
            f"One rollout of {target}, {series}",
            f"{steps} steps from {times[0].astype('datetime64[m]') if segments.schema.has_dates else times[0]}: the band holds "
            f"80 % of {len(base_WS)} sampled paths, {base_WS.std(0).mean():.3g} wide by their deviation.",
            times,
            shown,
            y_title=target,
            band=(low_S, high_S, "80 % of base paths"),
        )
    ]
    if not found:
        return figures
    first = {name: by[target] for name, by in found.items()}
    largest = max(first, key=lambda name: abs(first[name]["mean"]))
    order = sorted(first, key=lambda name: abs(first[name]["mean"]))
    figures.append(
        figure.lines(
            "effects",
            f"Effect on {target} by lead",
            f"'{largest}' moves it most, by {first[largest]['mean']:+.3g} on average over {steps} steps.",
            np.arange(1, steps + 1),
            {name: effect["by_step"] for name, effect in first.items()},
            x_title="steps ahead",
            y_title=f"difference in {target}",
        )
    )
    bar: dict[str, Any] = {
        "type": "bar",
        "orientation": "h",
        "y": order,
        "x": figure.plain([first[n]["mean"] for n in order]),
    }
    reach = (
        [abs(first[n]["high"] - first[n]["mean"]) for n in order],
        [abs(first[n]["mean"] - first[n]["low"]) for n in order],
    )
    bar["error_x"] = {"type": "data", "array": figure.plain(reach[0]), "arrayminus": figure.plain(reach[1])}
    figures.append(
        Figure(
            id="tornado",
            title="Scenarios by effect",
            caption=f"Mean difference in {target} from the base; whiskers hold 80 % of {len(origin_M)} origins.",
            traces=[bar],
            layout={"xaxis": {"title": {"text": f"difference in {target}"}}},
        )
    )
    return figures


def class_effects(
    found: Mapping[str, NDArray], classes: list[str], unit: str = "sequence"
) -> tuple[dict[str, Any], list[Figure], list[Finding]]:
    """How each scenario moves the mean probability of each class."""
    base = found["base"].mean(0)
    columns = ["scenario", *(f"mean probability of {name}" for name in classes), "decisions changed"]
    rows = []
    findings = []
    for name, probability_MK in found.items():
        changed = float((probability_MK.argmax(1) != found["base"].argmax(1)).mean())
        rows.append([name, *(float(p) for p in probability_MK.mean(0)), changed])
        if name != "base":
            move = probability_MK.mean(0) - base
            most = int(np.abs(move).argmax())
            text = f"If {name}, '{classes[most]}' becomes {move[most]:+.1%} likelier and {changed:.1%} of decisions change."
            findings.append(Finding(severity="info", text=text))
    table = {"title": "What-if", "columns": columns, "rows": rows, "caption": f"Over every validation {unit}."}
    bars = figure.bars(
        "scenarios",
        "Class probability by scenario",
        f"Mean over {len(found['base'])} validation {unit}s; the base gives '{classes[0]}' {base[0]:.1%}.",
        list(found),
        {name: [float(p[:, k].mean()) for p in found.values()] for k, name in enumerate(classes)},
        y_title="mean probability",
    )
    return table, [bars], findings


def before_and_after(verdict: Verdict) -> Figure:
    """Validation metric of base, control and challenger."""
    rows = verdict.table()["rows"]
    return figure.bars(
        "before-after",
        "Before and after synthetic experience",
        verdict.words[0].upper() + verdict.words[1:],
        [row[0] for row in rows],
        {verdict.metric: [row[1] for row in rows]},
        y_title=f"validation {verdict.metric}",
    )
