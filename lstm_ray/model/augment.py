"""Random changes to training sequences, drawn anew each time they are read. Knows no networks, losses or validation.

The methods are those of Um et al. (2017, jitter, scaling, magnitude and time warping), Le Guennec et al. (2016, window
slicing) and Zhang et al. (2018, mixup), as surveyed by Wen et al. (2021) and Iwana & Uchida (2021). A sequence to
forecast is bent as a whole, history and future alike; noise and hidden steps change what is read and never the truth.
Shapes: B sequences, T steps, N origins, C targets, P past, K known inputs, F any of these columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lstm_ray.data.windows import IGNORED
from lstm_ray.model.objective import Lesson
from lstm_ray.sections.prepare import WindowConfig
from lstm_ray.sections.train import AugmentConfig

KNOTS = 4
"""Random values that a smooth curve passes near (Um et al. 2017)."""
HIDDEN_RUN = 8
"""Steps hidden in one run; runs that meet grow together."""
SLOWEST = 0.1
"""Least speed of a warped clock, so that it never stands or runs backwards."""


def augmented(lesson: Lesson, augment: AugmentConfig, window: WindowConfig, key: tuple[int, ...]) -> Lesson:
    """The lesson changed at random. The same key (seed, epoch, step, rank) gives the same changes.

    Each change stays within a sequence's real length, so padding stays padding.
    """
    if not any(augment.model_dump().values()):
        return lesson
    random = _random(key, lesson.origin_BN.device)
    length_B = real_lengths(lesson, window)
    if augment.scaling or augment.magnitude_warp:
        lesson = _stretched_upwards(lesson, augment, len(window.lags), length_B, random)
    if augment.time_warp or augment.window_slice:
        lesson = _stretched_in_time(lesson, augment, length_B, random)
    if augment.mixup:
        lesson = _mixed(lesson, augment.mixup, length_B, key)
    if augment.jitter:
        lesson = _jittered(lesson, augment.jitter, length_B, random)
    if augment.masking:
        lesson = _masked(lesson, augment.masking, length_B, random)
    return lesson


def real_lengths(lesson: Lesson, window: WindowConfig) -> Tensor:
    """Steps of each sequence before its padding, int64 [B]; 0 where it only fills up a batch.

    A forecast's end with the horizon of their last origin. Those of a classified sequence end with its last value: what
    pads it is zero in every column.
    """
    if lesson.target_BTC.shape[2]:
        num_origins = lesson.origin_BN.shape[1]
        newest_B = (lesson.origin_BN * torch.arange(1, num_origins + 1, device=lesson.origin_BN.device)).amax(1).long()
        length_B = window.history + (newest_B - 1) * window.patch + window.horizon
        return length_B * (newest_B > 0)
    held_BT = (lesson.past_BTP != 0).any(-1) | (lesson.known_BTK != 0).any(-1)
    step_T = torch.arange(1, held_BT.shape[1] + 1, device=held_BT.device)
    return (held_BT * step_T).amax(1) * (lesson.label_B != IGNORED)


def _stretched_upwards(
    lesson: Lesson, augment: AugmentConfig, num_lags: int, length_B: Tensor, random: torch.Generator
) -> Lesson:
    """Every target and past column times a factor, and times a smooth curve about 1; the truth with its target. A target's
    lags (the last known columns) take its factor, for the curve does not reach back to them."""

    def factors(values_BTF: Tensor) -> tuple[Tensor, Tensor]:
        batch, steps, columns = values_BTF.shape
        factor_B1F = 1 + augment.scaling * torch.randn(batch, 1, columns, generator=random, device=random.device)
        curve_BTF = _curves(batch * columns, steps, random).unflatten(0, (batch, columns)).transpose(1, 2)
        found_BTF = factor_B1F * (1 + augment.magnitude_warp * curve_BTF)
        return factor_B1F, found_BTF.where(_inside(values_BTF, length_B), 1.0)

    (factor_B1C, target_BTC), (_, past_BTP) = factors(lesson.target_BTC), factors(lesson.past_BTP)
    lagged = torch.cat([factor_B1C, torch.ones_like(factor_B1C[..., :1])], -1).repeat(1, 1, num_lags)
    others = torch.ones_like(lesson.known_BTK[:, :1, lagged.shape[2] :])
    return replace(
        lesson,
        target_BTC=lesson.target_BTC * target_BTC,
        truth_BTC=lesson.truth_BTC * target_BTC,
        past_BTP=lesson.past_BTP * past_BTP,
        known_BTK=lesson.known_BTK * torch.cat([others, lagged], -1) if num_lags else lesson.known_BTK,
    )


def _stretched_in_time(lesson: Lesson, augment: AugmentConfig, length_B: Tensor, random: torch.Generator) -> Lesson:
    """Every column read along another clock: from a part of the sequence, at a speed that changes smoothly.

    Between two steps values are interpolated; a step counts as measured where both its neighbours are.
    """
    batch, steps = lesson.known_BTK.shape[:2]
    last_B1 = (length_B[:, None] - 1).clamp_min(0)
    step_T = torch.arange(steps, device=random.device)
    speed_BT = (1 + augment.time_warp * _curves(batch, steps, random)).clamp_min(SLOWEST)
    clock_BT = speed_BT.cumsum(1) - speed_BT[:, :1]
    clock_BT = clock_BT / clock_BT.gather(1, last_B1).clamp_min(SLOWEST)
    cut_B1, begin_B1 = (torch.rand(batch, 1, generator=random, device=random.device) for _ in range(2))
    cut_B1 = cut_B1 * augment.window_slice
    at_BT = (begin_B1 * cut_B1 + (1 - cut_B1) * clock_BT) * last_B1
    at_BT = at_BT.clamp(max=last_B1).where(step_T <= last_B1, step_T.float())
    low_BT = at_BT.floor().long().clamp_max(steps - 1)
    high_BT, share_BT1 = (low_BT + 1).clamp_max(steps - 1), (at_BT - low_BT)[..., None]

    def read(values_BTF: Tensor) -> Tensor:
        low_BTF, high_BTF = (_at(values_BTF, index_BT) for index_BT in (low_BT, high_BT))
        return low_BTF + share_BT1 * (high_BTF - low_BTF)

    def both(mask_BTC: Tensor) -> Tensor:
        low_BTC = _at(mask_BTC, low_BT)
        return torch.minimum(low_BTC, _at(mask_BTC, high_BT).where(share_BT1 > 0, low_BTC))

    return _whole(lesson, read, both)


def _mixed(lesson: Lesson, alpha: float, length_B: Tensor, key: tuple[int, ...]) -> Lesson:
    """Each sequence blended with another of the batch, and their labels as much (Zhang et al. 2018).

    Its own share is the larger one, so that it keeps its origins and categories. One shorter than itself has nothing to
    give to its end, and is not mixed in.
    """
    draw = np.random.default_rng([*key, 1])
    device = length_B.device
    partner_B = torch.from_numpy(draw.permutation(len(length_B))).to(device)
    share_B = torch.from_numpy(draw.beta(alpha, alpha, len(length_B)).astype(np.float32)).to(device)
    share_B = torch.maximum(share_B, 1 - share_B).where(length_B[partner_B] >= length_B.clamp_min(1), 1.0)
    share_B11 = share_B[:, None, None]

    def blend(values_BTF: Tensor) -> Tensor:
        mixed_BTF = share_B11 * values_BTF + (1 - share_B11) * values_BTF[partner_B]
        return mixed_BTF.where(_inside(values_BTF, length_B), values_BTF)

    def both(mask_BTC: Tensor) -> Tensor:
        mixed_BTC = torch.minimum(mask_BTC, mask_BTC[partner_B])
        return mixed_BTC.where((share_B11 < 1) & _inside(mask_BTC, length_B), mask_BTC)

    other_B = lesson.label_B[partner_B].where(share_B < 1, lesson.label_B)
    weight_BT = both(lesson.weight_BT[..., None])[..., 0]
    return replace(_whole(lesson, blend, both), other_B=other_B, share_B=share_B, weight_BT=weight_BT)


def _whole(lesson: Lesson, values: Callable[[Tensor], Tensor], masks: Callable[[Tensor], Tensor]) -> Lesson:
    """Everything in a sequence changed consistently: what is read, what is true, what of either was observed, and how much it
    counts: as the least of what it was made from."""
    per_step = lesson.weight_BT.shape[1] == lesson.known_BTK.shape[1]
    return replace(
        lesson,
        target_BTC=values(lesson.target_BTC),
        truth_BTC=values(lesson.truth_BTC),
        past_BTP=values(lesson.past_BTP),
        known_BTK=values(lesson.known_BTK),
        observed_BTC=masks(lesson.observed_BTC),
        measured_BTC=masks(lesson.measured_BTC),
        weight_BT=masks(lesson.weight_BT[..., None])[..., 0] if per_step else lesson.weight_BT,
    )


def _jittered(lesson: Lesson, deviation: float, length_B: Tensor, random: torch.Generator) -> Lesson:
    """Noise on the targets and past inputs that are read."""

    def noisy(values_BTF: Tensor) -> Tensor:
        noise_BTF = deviation * torch.randn(values_BTF.shape, generator=random, device=random.device)
        return values_BTF + noise_BTF * _inside(values_BTF, length_B)

    return replace(lesson, target_BTC=noisy(lesson.target_BTC), past_BTP=noisy(lesson.past_BTP))


def _masked(lesson: Lesson, share: float, length_B: Tensor, random: torch.Generator) -> Lesson:
    """Runs of steps hidden: not observed, their targets and past inputs those of the step before the run.

    The truth still holds them: what is hidden from one origin's history is another's future.
    """
    batch, steps = lesson.known_BTK.shape[:2]
    chance = 1 - (1 - share) ** (1 / HIDDEN_RUN)
    starts_BT = torch.rand(batch, steps + HIDDEN_RUN - 1, generator=random, device=random.device) < chance
    hidden_BT = functional.max_pool1d(starts_BT.float(), HIDDEN_RUN, 1) > 0
    step_T = torch.arange(steps, device=random.device)
    # The first step has none before it.
    hidden_BT &= (step_T > 0) & (step_T < length_B[:, None])
    newest_BT = torch.where(hidden_BT, 0, step_T).cummax(1).values
    return replace(
        lesson,
        target_BTC=_at(lesson.target_BTC, newest_BT),
        past_BTP=_at(lesson.past_BTP, newest_BT),
        observed_BTC=lesson.observed_BTC * ~hidden_BT[..., None],
    )


def _curves(number: int, steps: int, random: torch.Generator) -> Tensor:
    """Smooth random curves about 0 with deviation of about 1, [number, steps]."""
    knots = torch.randn(number, 1, 1, KNOTS, generator=random, device=random.device)
    return functional.interpolate(knots, (1, steps), mode="bicubic", align_corners=True)[:, 0, 0]


def _inside(values_BTF: Tensor, length_B: Tensor) -> Tensor:
    """[B, T, 1]: steps before the padding."""
    return (torch.arange(values_BTF.shape[1], device=length_B.device) < length_B[:, None])[..., None]


def _at(values_BTF: Tensor, index_BT: Tensor) -> Tensor:
    return values_BTF.gather(1, index_BT[..., None].expand(-1, -1, values_BTF.shape[2]))


def _random(key: tuple[int, ...], device: torch.device) -> torch.Generator:
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state >> np.uint64(1)))
