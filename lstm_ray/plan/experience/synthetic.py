"""Synthetic experience: rollouts after real histories, as sequences to train on. Knows no torch and no Ray."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.data.feed import Items, Source
from lstm_ray.data.lags import reach
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.steps import cut_steps, plan_part, step_ranges
from lstm_ray.data.windows import Batch, Plan, Segments, cut, cut_sequences, longest_sequence, plan_sequences, sequences
from lstm_ray.plan.starts import season_repeated
from lstm_ray.sections.prepare import WindowConfig

JITTER = 0.1
"""Noise of a synthetic sequence to classify, in training deviations (Um et al. 2017)."""


def after_histories(segments: Segments, origin_M: NDArray, future_MSC: NDArray, window: WindowConfig) -> Segments:
    """What a window reads up to each origin, followed by a simulated future, as segments of their own. Past inputs repeat
    their last season, as they did in the rollout."""
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


def jittered(segments: Segments, ids_M: NDArray, deviation_P: NDArray, seed: int) -> Segments:
    """Copies of whole sequences with a little noise on their inputs and their own label."""
    assert segments.label is not None
    copies = segments.stretches(np.stack([segments.bounds[ids_M], segments.bounds[ids_M + 1]], axis=1))
    return _with_noise(copies, deviation_P, seed)


def jittered_steps(segments: Segments, bounds: Boundaries, deviation_P: NDArray, seed: int) -> Segments:
    """A copy of the training part with a little noise on its inputs and the labels of its steps (task: label)."""
    range_S2 = step_ranges(segments, bounds, "train")
    held = np.flatnonzero(range_S2[:, 1] > range_S2[:, 0])
    assert segments.label_R is not None
    return _with_noise(segments.stretches(range_S2[held]), deviation_P, seed)


def _with_noise(copies: Segments, deviation_P: NDArray, seed: int) -> Segments:
    noise = np.random.default_rng(seed).normal(size=copies.past_RP.shape) * JITTER * deviation_P
    return replace(copies, past_RP=(copies.past_RP + noise).astype(np.float32))


def num_synthetic(real: Items | Source, config: Config) -> int:
    """Synthetic sequences that make up plan.synthetic.fraction of all."""
    assert config.plan.synthetic is not None, "nothing synthetic is asked for"
    fraction = config.plan.synthetic.fraction
    return max(1, round(real.num_items * fraction / (1 - fraction)))


def with_synthetic(real: Source, scaled: Segments, synthetic: Segments, bounds: Boundaries, config: Config) -> Source:
    """The training part's items, then one for every synthetic sequence (scaled as the real ones are); of labelled steps,
    sequences of the copy, as many as ``num_synthetic`` asks for."""
    window = config.window
    count = len(synthetic.bounds) - 1
    if config.task == "label":
        labels = plan_part(synthetic, bounds, "train", window, config.train.origins)
        drawn = np.random.default_rng(config.seed).permutation(len(labels))[: num_synthetic(real, config)]
        cut_one = lambda chosen: cut_steps(synthetic, labels, drawn[chosen])  # noqa: E731
        count = num_windows = len(drawn)
    elif config.task == "classify":
        longest = longest_sequence(scaled, window.history)
        cut_one = lambda chosen: cut_sequences(synthetic, chosen, longest, window.patch)  # noqa: E731
        num_windows = count
    else:
        like = plan_sequences(scaled, bounds, "train", window, config.train.origins)
        # What lies before the history is there for lags alone.
        ahead, ends = config.plan.steps or 2 * window.horizon, synthetic.bounds[1:]
        num_M = np.full(count, min(like.origins, 1 + (ahead - window.horizon) // window.patch))
        starts = ends - ahead - window.history
        plan = Plan(starts, ends, num_M, like.steps, like.origins, lags=tuple(window.lags))
        cut_one = lambda chosen: cut(synthetic, plan, chosen)  # noqa: E731
        num_windows = plan.num_windows
    real_items = real.num_items

    def cut_both(chosen: NDArray) -> Batch:
        parts = []
        if (of_real := chosen[chosen < real_items]).size:
            parts.append(real.cut(of_real))
        if (made := chosen[chosen >= real_items] - real_items).size:
            parts.append(cut_one(made))
        return Batch(**{name: np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])})

    return Source(real_items + count, real.num_windows + num_windows, cut_both)


def training_sequences(segments: Segments, bounds: Boundaries, number: int, seed: int) -> NDArray:
    """Whole training sequences to copy, drawn with the seed (task: classify)."""
    ids = sequences(segments, bounds, "train")
    chosen: NDArray = np.sort(np.random.default_rng(seed).choice(ids, size=number, replace=number > len(ids)))
    return chosen
