"""Rollouts in pictures: what may come of one moment, what scenarios do to it, and how probable they make a crossing.

Knows no torch and no Ray. Shapes: M origins, Q quantiles, S steps, C targets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray import figure
from lstm_ray.data.windows import Segments
from lstm_ray.figure import Figure
from lstm_ray.plan.what_if.effects import LEVELS, Crossing, Effect, Summary
from lstm_ray.plan.what_if.statements import Crossings, Effects, most_moved

MOST_FANS = 4
"""Scenarios that have a fan of their own: those that move the target most."""
MOST_LINES = 7
"""Lines of one figure that can be told apart."""
MOST_BANDS = 3
"""Lines whose bands can."""


def rollout_figures(
    summaries: Mapping[str, Summary],
    found: Effects,
    crossed: Crossings,
    actual_MSC: NDArray,
    observed_MSC: NDArray,
    segments: Segments,
    origin_M: NDArray,
) -> list[Figure]:
    """Fans of one moment, effects by lead, scenarios in the order of their effects, and probabilities of crossings.

    Args:
        summaries: of the base and every scenario, over the same origins.
        actual_MSC: what happened; ``observed_MSC`` where it was measured.
    """
    if not found:
        truth_S = _truth(actual_MSC, observed_MSC, middle := len(origin_M) // 2, 0)
        return [_fan("fan", "base", None, summaries["base"], truth_S, segments, origin_M, middle, 0)]
    strongest = max(found, key=lambda name: _size(found[name], most_moved(found[name])))
    target = most_moved(found[strongest])
    c = segments.schema.target.index(target)
    effects = {name: by[target] for name, by in sorted(found.items(), key=lambda item: -_size(item[1], target))}
    m = _typical(summaries, strongest, effects[strongest], c, segments, origin_M)
    truth_S = _truth(actual_MSC, observed_MSC, m, c)
    fans = [
        _fan(f"fan-{number}", name, summaries[name], summaries["base"], truth_S, segments, origin_M, m, c)
        for number, name in enumerate(list(effects)[:MOST_FANS], start=1)
    ]
    return [*fans, _by_lead(effects, target), _tornado(effects, target, len(origin_M)), *_crossings(crossed)]


def _fan(
    id: str,
    name: str,
    scenario: Summary | None,
    base: Summary,
    truth_S: NDArray,
    segments: Segments,
    origin_M: NDArray,
    m: int,
    c: int,
) -> Figure:
    """What came before one origin and what happened then; the base's paths and a scenario's."""
    target, steps, origin = segments.schema.target[c], base.mean_MSC.shape[1], int(origin_M[m])
    segment = int(segments.series_of(np.array([origin]))[0])
    behind = np.arange(max(segments.bounds[segment], origin - steps + 1), origin + 1)
    times, ahead = segments.times(behind), segments.times(origin + np.arange(steps + 1))
    value_B = np.where(segments.observed_RC[behind, c] > 0, segments.target_RC[behind, c], np.nan)

    def from_now(value_S: NDArray) -> NDArray:
        return np.concatenate([segments.target_RC[origin, c : c + 1], value_S])

    band_QS, traces = base.quantile_MQSC[m, :, :, c], []
    for low, high in ((0, 3), (1, 2)):
        share = f"base, middle {LEVELS[high] - LEVELS[low]:.0%}"
        traces += figure.shaded(ahead, from_now(band_QS[low]), from_now(band_QS[high]), share, of="base", legend=False)
    lines: dict[str, tuple[NDArray, NDArray]] = {
        "what happened": (np.concatenate([times, ahead[1:]]), np.concatenate([value_B, truth_S])),
        "base": (ahead, from_now(base.mean_MSC[m, :, c])),
    }
    words = f"The base's mean is {base.mean_MSC[m, :, c].mean():.4g} over {steps} steps"
    if scenario is not None:
        own_QS = scenario.quantile_MQSC[m, :, :, c]
        ends = from_now(own_QS[0]), from_now(own_QS[-1])
        traces += figure.shaded(ahead, *ends, f"{name}, middle 80%", of=name, legend=False)
        lines[name] = ahead, from_now(scenario.mean_MSC[m, :, c])
        words += f", that of '{name}' {scenario.mean_MSC[m, :, c].mean():.4g}"
    traces += [figure.line(x, y, own, banded=own in ("base", name)) for own, (x, y) in lines.items()]
    when = str(times[-1].astype("datetime64[m]")).replace("T", " ") if segments.schema.has_dates else times[-1]
    return Figure(
        id=id,
        title=f"{target} of {segments.series[segment]}{'' if scenario is None else f': {name}'}",
        caption=f"{words}, from {when} on. Bands hold the middle 80 % of {base.paths} paths, and 50 % of the base's.",
        traces=traces,
        layout={"yaxis": {"title": {"text": target}}},
    )


def _by_lead(effects: Mapping[str, Effect], target: str) -> Figure:
    shown = dict(list(effects.items())[:MOST_LINES])
    largest, traces = next(iter(shown)), []
    steps = np.arange(1, len(shown[largest].by_step) + 1)
    for name, effect in list(shown.items())[:MOST_BANDS]:
        if effect.by_step_reach is not None:
            mean_S, reach_S = np.array(effect.by_step), np.array(effect.by_step_reach)
            traces += figure.shaded(
                steps, mean_S - reach_S, mean_S + reach_S, f"{name}, 95 % interval", of=name, legend=False
            )
    banded = (
        f" Bands are 95 % intervals of the mean{' of the largest' if len(shown) > MOST_BANDS else ''}."
        if traces
        else ""
    )
    left = f" The {len(effects) - len(shown)} that move it least are left out." if len(effects) > len(shown) else ""
    traces += [figure.line(steps, effect.by_step, name, banded=True) for name, effect in shown.items()]
    peak = int(np.abs(effects[largest].by_step).argmax())
    return Figure(
        id="effects",
        title=f"Effect on {target} by lead",
        caption=f"'{largest}' moves it most, by {effects[largest].mean:+.3g} on average and "
        f"{effects[largest].by_step[peak]:+.3g} at step {peak + 1}.{banded}{left}",
        traces=traces,
        layout={"xaxis": {"title": {"text": "steps ahead"}}, "yaxis": {"title": {"text": f"difference in {target}"}}},
    )


def _tornado(effects: Mapping[str, Effect], target: str, num_origins: int) -> Figure:
    """Bars in the order of their size, with the interval of each mean; where there is none, with most origins."""
    told = all(effect.interval is not None for effect in effects.values())
    end = [effect.interval if told and effect.interval else (effect.low, effect.high) for effect in effects.values()]
    mean = [effect.mean for effect in effects.values()]
    bar: dict[str, Any] = {"type": "bar", "orientation": "h", "y": list(effects), "x": figure.plain(mean)}
    bar["error_x"] = {
        "type": "data",
        "symmetric": False,
        "array": figure.plain([max(0.0, high - at) for (_, high), at in zip(end, mean, strict=True)]),
        "arrayminus": figure.plain([max(0.0, at - low) for (low, _), at in zip(end, mean, strict=True)]),
    }
    clear = [name for name, effect in effects.items() if effect.is_clear]
    whiskers = "are 95 % intervals of the mean" if told else f"hold 80 % of {num_origins} origins"
    return Figure(
        id="tornado",
        title="Scenarios by effect",
        caption=f"Mean difference in {target} from the base; whiskers {whiskers}. "
        f"{len(clear)} of {len(effects)} {'lies' if len(clear) == 1 else 'lie'} clear of 0.",
        traces=[bar],
        layout={"xaxis": {"title": {"text": f"difference in {target}"}}},
    )


def _crossings(crossed: Crossings) -> list[Figure]:
    """The probability of crossing each threshold, of the base and every scenario; none where nothing is ever crossed."""
    words = {words for by in crossed.values() for words, c in by.items() if c.base or c.scenario}
    if not words:
        return []
    first: Mapping[str, Crossing] = next(iter(crossed.values()))
    shown = [one for one in first if one in words][:MOST_LINES]
    told = [(name, one, by[one]) for name, by in crossed.items() for one in shown]
    name, most, crossing = max(told, key=lambda item: abs(item[2].difference))
    return [
        figure.bars(
            "crossings",
            "Probability of crossing a threshold",
            f"'{name}' changes it most: {most} at some step in {crossing.scenario:.1%} of paths, not {crossing.base:.1%}.",
            ["base", *crossed],
            {one: [first[one].base, *(by[one].scenario for by in crossed.values())] for one in shown},
            y_title="probability",
        )
    ]


def _typical(
    summaries: Mapping[str, Summary], name: str, effect: Effect, c: int, segments: Segments, origin_M: NDArray
) -> int:
    """The origin of the most affected series at which the scenario does about what it usually does there."""
    names_M = np.array(segments.series)[segments.series_of(origin_M)]
    mine = np.flatnonzero(names_M == effect.most_affected)
    moved = (summaries[name].mean_MSC[mine, :, c] - summaries["base"].mean_MSC[mine, :, c]).mean(1)
    return int(mine[np.argsort(moved, kind="stable")[len(mine) // 2]])


def _truth(actual_MSC: NDArray, observed_MSC: NDArray, m: int, c: int) -> NDArray:
    return np.where(observed_MSC[m, :, c] > 0, actual_MSC[m, :, c], np.nan)


def _size(by_target: Mapping[str, Effect], target: str) -> float:
    return abs(by_target[target].mean)
