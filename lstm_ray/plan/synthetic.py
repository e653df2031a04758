"""Synthetic experience: rollouts after real histories, as sequences to train on. Knows no torch and no Ray."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.data.feed import Items, Source
from lstm_ray.data.split import Boundaries
from lstm_ray.data.steps import cut_steps, plan_part, step_ranges
from lstm_ray.data.windows import Batch, Plan, Segments, cut, cut_sequences, longest_sequence, plan_sequences, sequences
from lstm_ray.plan.rollouts import season_repeated
from lstm_ray.sections.data import WindowConfig

JITTER = 0.1
"""Noise of a synthetic sequence to classify, in training deviations (Um et al. 2017)."""


def after_histories(segments: Segments, origin_M: NDArray, future_MSC: NDArray, window: WindowConfig) -> Segments:
    """Each origin's history followed by a simulated future, as segments of their own. Past inputs repeat their last
    season, as they did in the rollout."""
    history, steps = window.history, future_MSC.shape[1]
    rows_ML = origin_M[:, None] + np.arange(1 - history, 1)
    ahead_MS = origin_M[:, None] + np.arange(1, steps + 1)
    past_MS = season_repeated(segments.past_RP[rows_ML], window.season, steps)
    rows = np.concatenate([rows_ML, ahead_MS], axis=1)
    target = np.concatenate([segments.target_RC[rows_ML], future_MSC], axis=1)
    observed = np.concatenate([segments.observed_RC[rows_ML], np.ones_like(future_MSC)], axis=1)
    of_origin = segments.series_of(origin_M)
    num_rows = len(origin_M) * (history + steps)
    return Segments(
        target_RC=target.reshape(num_rows, target.shape[-1]).astype(np.float32),
        observed_RC=observed.reshape(num_rows, target.shape[-1]).astype(np.float32),
        past_RP=past_MS.reshape(num_rows, past_MS.shape[-1]),
        known_RK=segments.known_RK[rows].reshape(num_rows, segments.known_RK.shape[-1]),
        bounds=np.arange(len(origin_M) + 1, dtype=np.int64) * (history + steps),
        series=[segments.series[s] for s in of_origin],
        first_step=segments.steps(origin_M) - history + 1,
        label=None,
        schema=segments.schema,
        category_SK=segments.category_SK[of_origin],
    )


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
    """Synthetic sequences that make up plan.synthetic_fraction of all."""
    fraction = config.plan.synthetic_fraction
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
        steps = int(synthetic.bounds[1])
        num_origins = min(like.origins, 1 + (steps - window.history - window.horizon) // window.patch)
        plan = Plan(synthetic.bounds[:-1], synthetic.bounds[1:], np.full(count, num_origins), like.steps, like.origins)
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
