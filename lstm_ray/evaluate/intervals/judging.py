"""Whether a policy's intervals hold what they say on the test part: as the network gives them, calibrated on validation, and
followed over time. Knows no files.

Shapes: M windows, H horizon, C targets, Q quantiles, N series.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.schema import Scaler
from lstm_ray.data.windows import Segments
from lstm_ray.evaluate.gather import Forecaster
from lstm_ray.evaluate.intervals import figures
from lstm_ray.evaluate.intervals.adaptive import followed
from lstm_ray.evaluate.intervals.calibrating import narrowest
from lstm_ray.evaluate.intervals.held import Held, Pair, held, pairs
from lstm_ray.evaluate.intervals.sample import Sample, sampled
from lstm_ray.evaluate.skill import block_jackknife
from lstm_ray.evaluate.told import Told
from lstm_ray.evaluate.words import number, percent
from lstm_ray.model.conformal import Conformal
from lstm_ray.model.policy import Policy
from lstm_ray.run_dir import Finding
from lstm_ray.sections.evaluate import EvaluateConfig

TOPIC = "Intervals"
RAW, SPLIT, ADAPTIVE = "uncalibrated", "calibrated", "adaptive"
WORDS = {
    RAW: "as the network gives them",
    SPLIT: "as calibrated on validation",
    ADAPTIVE: "when they follow every error",
}
"""Ways to make intervals, and how a sentence calls them."""
WRONG = 0.05
"""Coverage further than this from what it should be, and than chance, is a warning."""
TIED = 0.05
"""Share of actual values that equal a quantile which is mentioned."""
NORMAL = 1.96
"""Deviations of a normal distribution that hold 95 %."""
FEWEST_TIMES = 20
"""Times from which following them is tried."""


@dataclass(frozen=True)
class Judged:
    """All that figures and findings are made from."""

    sample: Sample
    pairs: list[Pair]
    ways: dict[str, Held]
    """By RAW, SPLIT and ADAPTIVE: those that there are."""
    unit: str

    @property
    def served(self) -> str:
        """The way in which the policy answers."""
        return SPLIT if SPLIT in self.ways else RAW

    @property
    def widest(self) -> Pair:
        return self.pairs[-1]

    @property
    def horizon(self) -> int:
        return int(self.sample.actual_MHC.shape[1])

    @property
    def measured(self) -> NDArray:
        """How many values were measured, [M, H]."""
        count: NDArray = np.isfinite(self.sample.actual_MHC).sum(axis=2)
        return count

    def coverage(self, way: str, pair: Pair, among: NDArray | slice = slice(None)) -> tuple[float, float | None]:
        """Share of actual values that intervals held, and how far its 95 % interval reaches by chance (leaving out blocks of
        time, in which windows share steps); NaN where nothing was measured, None where there are too few blocks."""
        inside_M = self.ways[way].inside[pair.name][among].sum(axis=1)
        count_M = self.measured[among].sum(axis=1)
        if not count_M.any():
            return float("nan"), None
        share, reach = block_jackknife(np.divide, [inside_M, count_M], self.sample.step_M[among], self.horizon)
        return float(share), float(reach) if reach is not None and np.isfinite(reach) else None

    def by_step(self, way: str, pair: Pair) -> tuple[NDArray, NDArray | None]:
        """The same by step ahead, [H] each."""
        parts = [self.ways[way].inside[pair.name], self.measured]
        with np.errstate(divide="ignore", invalid="ignore"):
            return block_jackknife(np.divide, parts, self.sample.step_M, self.horizon)

    def by_series(self, way: str, pair: Pair) -> tuple[list[str], NDArray, NDArray]:
        """Series of which anything was measured: name, coverage [N] and index."""
        num, of_M = len(self.sample.names), self.sample.series_M
        inside_N = np.bincount(of_M, self.ways[way].inside[pair.name].sum(axis=1), num)
        count_N = np.bincount(of_M, self.measured.sum(axis=1), num)
        index = np.flatnonzero(count_N)
        return [self.sample.names[n] for n in index], inside_N[index] / count_N[index], index

    @property
    def bounds(self) -> str:
        """What was looked at, as a sentence."""
        num, times = len(self.sample.step_M), len(np.unique(self.sample.step_M))
        if num == self.sample.of:
            return f"All {num:,} windows of the test part."
        return f"{num:,} of {self.sample.of:,} windows of the test part, evenly spread over {times:,} times."


def told(
    policy: Forecaster, segments: Segments, origins_M: NDArray, scaler: Scaler, settings: EvaluateConfig
) -> Told | None:
    """A policy's intervals on some windows of the test part; None where it has none, or nothing was measured."""
    if len(policy.quantiles) < 2:
        return None
    calibration = policy.calibration if isinstance(policy, Policy) else None
    sample = sampled(policy, segments, origins_M, scaler, settings.batch)
    if not np.isfinite(sample.actual_MHC).any():
        return None
    judged = judge(sample, calibration, segments.schema.target)
    return Told(
        TOPIC,
        [*_findings(judged), *_of_calibration(policy, calibration, settings)],
        figures.of(judged, segments.schema),
        [_table(judged)],
        {"intervals": _details(judged, calibration)},
    )


def judge(sample: Sample, calibration: Conformal | None, targets: list[str]) -> Judged:
    """Every way to make intervals, on the same windows."""
    one = len(targets) == 1
    unit_C = np.ones(1) if one else np.asarray(sample.scaler.target_deviation, dtype=np.float64)
    chosen = pairs(sample.levels)
    floor_C = narrowest(sample) if calibration is None else calibration.floor_C
    start_HCQ = np.zeros(sample.scaled_MHCQ.shape[1:], np.float32) if calibration is None else calibration.shift_HCQ
    shifts: dict[str, NDArray | None] = {RAW: None}
    if calibration is not None:
        shifts[SPLIT] = start_HCQ
    if len(np.unique(sample.step_M)) >= FEWEST_TIMES:
        step_U, shift_UHCQ = followed(sample.score(floor_C), sample.step_M, start_HCQ, sample.levels)
        shifts[ADAPTIVE] = shift_UHCQ[np.searchsorted(step_U, sample.step_M)]
    ways = {
        way: held(sample.forecast(shift, floor_C), sample.actual_MHC, sample.levels, chosen, unit_C)
        for way, shift in shifts.items()
    }
    return Judged(sample, chosen, ways, targets[0] if one else "training deviations")


def _findings(judged: Judged) -> list[Finding]:
    found = [_coverage(judged), _cost(judged), _by_step(judged), _by_series(judged)]
    return [finding for finding in found if finding is not None]


def _coverage(judged: Judged) -> Finding:
    """The one sentence: do intervals hold what they say."""
    pair, served = judged.widest, judged.served
    share = {way: judged.coverage(way, pair)[0] for way in judged.ways}
    said = [f"{percent(value)} {WORDS[way]}" for way, value in share.items()]
    listed = said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"
    text = f"Intervals meant to hold {pair.name} of the actual values hold {listed}"
    if len(judged.pairs) > 1:
        others = [f"{other.name} hold {percent(judged.coverage(served, other)[0])}" for other in judged.pairs[:-1]]
        text += f"; those of {' and those of '.join(others)}"
    gap, reach = share[served] - pair.nominal, judged.coverage(served, pair)[1]
    if reach is None:
        text += "; the test part is too short to say how much of that is chance."
        steps = judged.sample.step_M
        reach = float(by_chance(pair.nominal, 1 + (steps.max() - steps.min()) // judged.horizon))
    else:
        text += f"; chance moves such a share by up to {100 * reach:.1f} points."
    if abs(gap) <= max(WRONG, reach):
        return Finding(severity="info", text=text)
    way = "narrow" if gap < 0 else "wide"
    advice = (
        f"They are too {way} here: evaluate again with a validation part of newer data before alarms depend on them."
    )
    if ADAPTIVE in share and abs(share[ADAPTIVE] - pair.nominal) <= WRONG:
        advice += " What they should hold drifts over time: followed from error to error they hold it."
    return Finding(severity="warning", text=text, advice=advice)


def _cost(judged: Judged) -> Finding | None:
    """What calibration did to width and score, and what counts do to coverage."""
    said = []
    if SPLIT in judged.ways:
        raw, split, name = judged.ways[RAW], judged.ways[SPLIT], judged.widest.name
        said = [
            f"Calibrated, {name} intervals are {number(split.width[name])} {judged.unit} wide on average instead of "
            f"{number(raw.width[name])}, and their interval score goes from {number(raw.score[name])} to "
            f"{number(split.score[name])}."
        ]
        if raw.width[name] == split.width[name]:
            said = [f"Errors on validation ask for no correction of the {name} intervals."]
    if (tied := judged.ways[judged.served].tied) > TIED:
        said += [
            f"{percent(tied)} of the actual values equal a quantile, as counts and values at a bound do, and are held where "
            "it ends an interval: that may hold more than it says."
        ]
    return Finding(severity="info", text=" ".join(said)) if said else None


def _by_step(judged: Judged) -> Finding | None:
    pair = judged.widest
    share_H, reach_H = judged.by_step(judged.served, pair)
    known = np.flatnonzero(np.isfinite(share_H))
    if len(known) < 2:
        return None
    low, high = known[np.argmin(share_H[known])], known[np.argmax(share_H[known])]
    text = (
        f"By step ahead the {pair.name} intervals hold from {percent(share_H[low])} (step {low + 1}) to "
        f"{percent(share_H[high])} (step {high + 1})"
    )
    if reach_H is None:
        return Finding(severity="info", text=f"{text}; the test part is too short to say how much of that is chance.")
    off = int((np.abs(share_H[known] - pair.nominal) > reach_H[known]).sum())
    text += f"; at {off} of {len(known)} steps that is further from {pair.name} than chance explains nineteen times of twenty."
    return Finding(severity="info", text=text)


def _by_series(judged: Judged) -> Finding | None:
    names, share_N, index = judged.by_series(judged.served, judged.widest)
    if len(names) < 2:
        return None
    low, high, pair = int(np.argmin(share_N)), int(np.argmax(share_N)), judged.widest
    whole, _ = judged.coverage(judged.served, pair)
    steps, of_N = judged.sample.step_M, judged.sample.series_M
    apart_N = [1 + (np.ptp(steps[of_N == n]) // judged.horizon) for n in index]
    off = int((np.abs(share_N - whole) > np.maximum(WRONG, by_chance(whole, np.asarray(apart_N)))).sum())
    text = (
        f"By series the {pair.name} intervals hold from {percent(share_N[low])} ({names[low]}) to "
        f"{percent(share_N[high])} ({names[high]}); {off} of {len(names)} are more than "
        f"{100 * WRONG:.0f} points, and more than chance explains, from all together ({percent(whole)})."
    )
    if 2 * off <= len(names):
        return Finding(severity="info", text=text)
    advice = "One correction serves all series; preprocess.scale_by: series lets each be told in units of its own."
    return Finding(severity="advice", text=text, advice=advice)


def by_chance(share: float, apart: NDArray | int) -> NDArray:
    """How far off a share chance moves what so many windows that share no step hold, 19 times of 20: all steps of one, which
    hang together, count once."""
    found: NDArray = NORMAL * np.sqrt(share * (1 - share) / np.asarray(apart))
    return found


def _of_calibration(policy: Forecaster, calibration: Conformal | None, settings: EvaluateConfig) -> list[Finding]:
    """What calibration could not do."""
    if not isinstance(policy, Policy) or settings.conformal == "none":
        return []
    lengthen = "Give split.validation more, so that it holds enough windows."
    if calibration is None:
        text = "The validation part holds no window: intervals are as the network gives them."
        return [Finding(severity="advice", text=text, advice=lengthen)]
    if calibration.left:
        levels = ", ".join(f"{level:g}" for level in calibration.left)
        text = (
            f"The {calibration.windows:,} windows of validation are too few to calibrate quantile {levels}: it stays as the "
            "network gives it."
        )
        return [Finding(severity="advice", text=text, advice=lengthen)]
    return []


def _table(judged: Judged) -> dict[str, Any]:
    rows = [
        [pair.name, way, judged.coverage(way, pair)[0], one.width[pair.name], one.score[pair.name]]
        for pair in judged.pairs
        for way, one in judged.ways.items()
    ]
    return {
        "title": "What intervals hold, test part",
        "columns": [
            "interval",
            "quantiles",
            "coverage",
            f"mean width, {judged.unit}",
            f"interval score, {judged.unit}",
        ],
        "rows": rows,
        "caption": f"{judged.bounds} The policy answers the {judged.served} ones. 'adaptive' starts there and moves with "
        "every error once it is known. The interval score is the width, and how far values lie outside over the share "
        "that the quantile there leaves out: lower is better.",
    }


def _details(judged: Judged, calibration: Conformal | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "answered": judged.served,
        "windows": len(judged.sample.step_M),
        "calibration_windows": None if calibration is None else calibration.windows,
        "levels_left_as_they_are": [] if calibration is None else list(calibration.left),
    }
    names = {way: judged.by_series(way, judged.widest)[:2] for way in judged.ways}
    for way, one in judged.ways.items():
        by_pair = {}
        for pair in judged.pairs:
            share, reach = judged.coverage(way, pair)
            by_step_H = judged.by_step(way, pair)[0]
            by_pair[pair.name] = {
                "coverage": share,
                "chance": reach,
                "width": one.width[pair.name],
                "interval_score": one.score[pair.name],
                "by_horizon": [float(value) if np.isfinite(value) else None for value in by_step_H],
            }
        below = {f"{level:g}": float(v) for level, v in zip(judged.sample.levels, one.below_Q, strict=True)}
        series, share_N = names[way]
        by_name = dict(zip(series, share_N.tolist(), strict=True))
        found[way] = {"intervals": by_pair, "below": below, "by_series": by_name}
    return found
