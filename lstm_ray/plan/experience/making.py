"""How synthetic sequences are made: from items of the training part, and from nothing else. Knows no torch and no Ray.

Shapes: M sequences, R rows of them, W numbers of an item, S steps of a simulated future (of a ``train``: segments), C targets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.data.feed import Items, planned
from lstm_ray.data.lags import reach
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.quality.clean import seen
from lstm_ray.data.scaling import units
from lstm_ray.data.schema import Own, Scaler
from lstm_ray.data.steps import plan_part, step_ranges
from lstm_ray.data.windows import Segments, plan_sequences
from lstm_ray.errors import InputError
from lstm_ray.plan.experience import variants
from lstm_ray.plan.experience.synthetic import Synthetic, num_synthetic
from lstm_ray.plan.experience.variants import BLOCK_SEASONS, Stretches
from lstm_ray.plan.futures.starts import season_repeated
from lstm_ray.sections.prepare import WindowConfig

MOST_VALUES = 50_000_000
"""Values of all synthetic sequences, at most (200 MB); where the fraction asks for more, training meets them more often."""
FEWEST_SEASONS = 2 * BLOCK_SEASONS + 1
"""Of a series' training part, below which there is little to recombine."""


@dataclass(frozen=True)
class Real:
    """The training part that synthetic sequences are made from."""

    segments: Segments
    """Unscaled."""
    scaled: Segments
    items: Items
    range_M2: NDArray
    """Rows that each item reads, and those its lags reach back to."""
    train_S2: NDArray
    """Rows of each segment in the training part."""
    bounds: Boundaries
    config: Config
    own: Own | None
    """The units of each segment's targets."""

    def stretches(self, item_M: NDArray) -> Stretches:
        return Stretches(*self.range_M2[item_M].T)


def kinds_of(config: Config) -> list[str]:
    """What ``plan.synthetic.kinds`` asks for."""
    assert config.plan.synthetic is not None, "nothing synthetic is asked for"
    asked = config.plan.synthetic.kinds
    if asked is None:
        return ["rollouts" if config.task == "forecast" else "jitter"]
    return list(asked)


def real_of(segments: Segments, scaled: Segments, scaler: Scaler, bounds: Boundaries, config: Config) -> Real:
    """The training part's items, and which rows each reads."""
    items = planned(scaled, bounds, "train", config)
    if config.task == "classify":
        ids_M = items.number_MW[:, 0]
        range_M2 = np.stack([scaled.bounds[ids_M], scaled.bounds[ids_M + 1]], axis=1)
    elif config.task == "label":
        steps = plan_part(scaled, bounds, "train", config.window, config.train.origins).steps
        start_M, readable_M, end_M = items.number_MW[:, 2:].T
        range_M2 = np.stack([np.maximum(start_M, readable_M), np.minimum(start_M + steps, end_M)], axis=1)
    else:
        steps = plan_sequences(scaled, bounds, "train", config.window, config.train.origins).steps
        start_M, end_M = items.number_MW[:, :2].T
        lead = reach(config.window) - config.window.history
        first_M = np.maximum(scaled.bounds[scaled.series_of(start_M)], start_M - lead)
        range_M2 = np.stack([first_M, np.minimum(start_M + steps, end_M)], axis=1)
    own = units.of_segments(seen(segments, scaler), scaler)
    return Real(segments, scaled, items, range_M2, step_ranges(segments, bounds, "train"), bounds, config, own)


def shares(real: Real) -> dict[str, int]:
    """How many sequences of each kind to make: alike, and no more than memory is meant for."""
    kinds = kinds_of(real.config)
    longest = int((real.range_M2[:, 1] - real.range_M2[:, 0]).max())
    columns = sum(v.shape[1] for v in (real.scaled.target_RC, real.scaled.past_RP, real.scaled.known_RK))
    total = min(num_synthetic(real.items, real.config), max(len(kinds), MOST_VALUES // (longest * max(1, columns))))
    total = max(total, len(kinds))
    return {kind: total // len(kinds) + (turn < total % len(kinds)) for turn, kind in enumerate(kinds)}


def variants_of(real: Real, kind: str, number: int) -> Synthetic:
    """So many sequences of a kind that needs no policy. Raises InputError where the training part holds nothing to make them
    from."""
    random = np.random.default_rng([real.config.seed, *kind.encode()])
    usable_M = _usable(real, kind)
    item_M = np.sort(random.choice(usable_M, size=number, replace=number > len(usable_M)))
    taken = real.stretches(item_M)
    if kind == "jitter":
        spread_C = real.scaled.spread_C if real.scaled.spread_C is not None else np.ones(1, np.float32)
        found = variants.jittered(taken.copied(real.scaled), spread_C, random)
    elif kind == "time_warp":
        found = variants.time_warped(real.scaled, taken, random)
    elif kind == "mixup":
        partner_M2 = (
            _same_class(real, item_M, random) if real.scaled.label is not None else _same_phase(real, taken, random)
        )
        found = variants.mixed(real.scaled, taken, partner_M2, random)
    else:
        assert kind == "recombine", kind
        found = _recombined(real, taken, random)
    first, num_rows = found.bounds[:-1] - taken.first_M, real.items.num_rows
    number_MW = real.items.number_MW[item_M].copy()
    if num_rows:
        number_MW[:, :num_rows] += first[:, None]
    else:
        number_MW[:, 0] = np.arange(number)
    source_M = real.segments.series_of(taken.first_M)
    own = None if real.own is None else real.own.take(source_M)
    return Synthetic(found, number_MW, np.full(number, kind), source_M, own)


def after_histories(segments: Segments, origin_M: NDArray, future_MSC: NDArray, window: WindowConfig) -> Segments:
    """What a window reads up to each origin, followed by a simulated future, as unscaled segments of their own. Past inputs
    repeat their last season, as they did in the rollout."""
    history, steps = window.history, future_MSC.shape[1]
    first_M = np.maximum(segments.bounds[segments.series_of(origin_M)], origin_M - reach(window) + 1)
    found = replace(segments, label=None).stretches(np.stack([first_M, origin_M + steps + 1], axis=1))
    ahead = (found.bounds[1:, None] + np.arange(-steps, 0)).ravel()
    past_MLP = segments.past_RP[origin_M[:, None] + np.arange(1 - history, 1)]
    past_MSP = season_repeated(past_MLP, window.season, steps)[:, history:]
    found.target_RC[ahead] = future_MSC.reshape(len(ahead), future_MSC.shape[2])
    found.past_RP[ahead] = past_MSP.reshape(len(ahead), past_MSP.shape[2])
    found.observed_RC[ahead] = 1
    return found


def of_futures(real: Real, scaler: Scaler, origin_M: NDArray, future_MSC: NDArray) -> Synthetic:
    """Simulated futures after the histories that they were rolled out from."""
    window, steps = real.config.window, future_MSC.shape[1]
    found = after_histories(real.segments, origin_M, future_MSC, window)
    like = plan_sequences(real.scaled, real.bounds, "train", window, real.config.train.origins)
    most = -(-like.origins // like.every)
    num = min(most, 1 + (steps - window.horizon) // (window.patch * like.every))
    end_M = found.bounds[1:]
    # What lies before the history is there for lags alone.
    number_MW = np.stack([end_M - steps - window.history, end_M, np.full(len(end_M), num)], axis=1)
    own = units.of_segments(seen(found, scaler), scaler)
    source_M = real.segments.series_of(origin_M)
    return Synthetic(found.scaled(scaler), number_MW, np.full(len(end_M), "rollouts"), source_M, own)


def _usable(real: Real, kind: str) -> NDArray:
    """Items that a kind can be made from."""
    if kind == "recombine":
        season, length_S = real.config.window.season, real.train_S2[:, 1] - real.train_S2[:, 0]
        enough_S = length_S >= FEWEST_SEASONS * season
        if not enough_S.any():
            raise InputError(
                f"plan.synthetic.kinds: recombine takes deviations from other times of a series, and needs {FEWEST_SEASONS} "
                f"seasons of it ({FEWEST_SEASONS * season} steps) in the training part; the longest has {length_S.max()}. Take "
                "it out, or set window.season lower"
            )
        return np.flatnonzero(enough_S[real.segments.series_of(real.range_M2[:, 0])])
    if kind == "mixup" and real.scaled.label is not None:
        label_M = real.scaled.label[real.items.number_MW[:, 0]]
        shared = np.flatnonzero(np.bincount(label_M)[label_M] > 1)
        if not len(shared):
            raise InputError(
                "plan.synthetic.kinds: mixup blends two sequences of one class, and no class has two in the training part; "
                "take it out"
            )
        return shared
    return np.arange(real.items.num_items)


def _same_class(real: Real, item_M: NDArray, random: np.random.Generator) -> NDArray:
    """For each sequence the rows of another of its class, int64 [M, 2]."""
    assert real.scaled.label is not None
    label_M = real.scaled.label[real.items.number_MW[:, 0]]
    of_class = {label: np.flatnonzero(label_M == label) for label in np.unique(label_M[item_M])}
    others = [random.choice(same[same != item]) for item in item_M for same in [of_class[label_M[item]]]]
    return real.range_M2[np.asarray(others, dtype=np.int64)]


def _same_phase(real: Real, taken: Stretches, random: np.random.Generator) -> NDArray:
    """For each sequence the rows of another stretch of the training part, as long and at the same place in the season, int64
    [M, 2]."""
    season, segments = real.config.window.season, real.segments
    low_S, high_S = real.train_S2.T
    step_S = segments.steps(np.minimum(low_S, segments.bounds[1:] - 1))
    found = []
    for first, end in zip(taken.first_M, taken.end_M, strict=True):
        step = int(segments.steps(np.array([first]))[0])
        begin_S = low_S + (step - step_S) % season
        count_S = np.maximum(0, (high_S - (end - first) - begin_S) // season + 1)
        starts = np.cumsum(count_S)
        own = int(segments.series_of(np.array([first]))[0])
        itself = starts[own] - count_S[own] + (first - begin_S[own]) // season if first >= begin_S[own] else -1
        if starts[-1] - (itself >= 0) < 1:
            raise InputError(
                f"plan.synthetic.kinds: mixup blends two stretches of {end - first} steps at the same place in their season, "
                "and the training part holds one; take it out, or set train.origins lower"
            )
        drawn = int(random.integers(starts[-1] - (itself >= 0)))
        drawn += itself >= 0 and drawn >= itself
        of = int(np.searchsorted(starts, drawn, side="right"))
        at = begin_S[of] + (drawn - (starts[of] - count_S[of])) * season
        found.append([at, at + end - first])
    return np.asarray(found, dtype=np.int64)


def _recombined(real: Real, taken: Stretches, random: np.random.Generator) -> Segments:
    scaled, season = real.scaled, real.config.window.season
    of_M = scaled.series_of(taken.first_M)
    smooth_of = np.zeros((len(scaled.target_RC), scaled.target_RC.shape[1] + scaled.past_RP.shape[1]), np.float32)
    for s in np.unique(of_M):
        rows = slice(scaled.bounds[s], real.train_S2[s, 1])
        smooth_of[rows] = variants.smooth(
            np.concatenate([scaled.target_RC[rows], scaled.past_RP[rows]], axis=1), season
        )
    donor_R = [
        variants.donors(int(first), int(end - first), (int(low), int(high)), season, random)
        for first, end, (low, high) in zip(taken.first_M, taken.end_M, real.train_S2[of_M], strict=True)
    ]
    return variants.recombined(scaled, taken, np.concatenate(donor_R), smooth_of)
