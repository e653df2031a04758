"""Whether the recipe learns where there is nothing to learn: what follows is shuffled, and no score may beat guessing.

The training part's cases are cut out, each is given another one's answer, and two thirds train a policy as the run's was,
for a few epochs. Of the other third it must know no more than a constant does; else answers reach it by another way.

Legend: M windows, sequences or steps, S segments, C target channels, H horizon.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, norm

from lstm_ray.config import Config, with_values
from lstm_ray.data.parts import PARTS, Boundaries
from lstm_ray.data.schema import Scaler
from lstm_ray.data.steps import step_ranges
from lstm_ray.data.windows import Segments, origins, sequences
from lstm_ray.errors import InputError
from lstm_ray.evaluate.audit.checks import Check
from lstm_ray.evaluate.forecasts.metrics import median_index
from lstm_ray.evaluate.forecasts.statistical import spread
from lstm_ray.evaluate.gather import cut_out, future_rows
from lstm_ray.evaluate.skill import skill
from lstm_ray.evaluate.words import percent
from lstm_ray.model.policy import Policy
from lstm_ray.model.trial import run_trial

NAME = "shuffled answers"
EPOCHS = 3
CASES, FEWEST = 600, 60
"""Windows, sequences or stretches that are shuffled, at most and at least."""
HELD_OUT = 1 / 3
STRETCH = 8
"""Histories of a stretch whose steps are labelled."""
LUCK = 1e-3
"""Probability below which a score is no luck."""
CLEAR, UNSURE = 0.02, 0.15
"""Skill over guessing that is too much, where its interval leaves out 0 and where there is none."""
FIX = "Look for a way from the answers into what is read, in your own loss or in the data's columns."


@dataclass(frozen=True)
class _Told:
    """How the policy did on what it was not trained on, and whether guessing could do that."""

    num: int
    text: str
    beats: bool
    skill: float


def check(config: Config, segments: Segments, parts: Boundaries, scaler: Scaler) -> Check:
    """Trains once, in this process; ``config`` is the policy's own."""
    short = with_values(config, {"train.max_epochs": min(EPOCHS, config.train.max_epochs or EPOCHS)})
    try:
        found = TASKS[config.task](short, segments, parts, scaler)
    except InputError as error:
        return Check(NAME, "left out", f"There is too little to train on when it is shuffled: {error}.")
    if found is None:
        return Check(NAME, "left out", f"The training part holds fewer than {FEWEST} cases to shuffle.")
    text = f"Trained for {short.train.max_epochs} epochs on shuffled answers, the recipe {found.text}"
    details = {"held_out": found.num, "skill": found.skill}
    if found.beats:
        return Check(NAME, "failed", f"{text}: it cannot have learned that from what it may read.", FIX, details)
    return Check(NAME, "passed", f"{text}: nothing reaches it that it should not read.", details=details)


def _forecasts(config: Config, segments: Segments, parts: Boundaries, scaler: Scaler) -> _Told | None:
    """Each window's future taken from another window; inputs that are known ahead stay."""
    window, random = config.window, np.random.default_rng(config.seed)
    chosen_M = spread(origins(segments, parts, "train", window), CASES, config.seed)
    if len(chosen_M) < FEWEST:
        return None
    cut, row_M = cut_out(segments, chosen_M, window.history, window.horizon)
    ring = random.permutation(len(row_M))
    other_M = np.empty_like(ring)
    other_M[ring] = np.roll(ring, 1)
    rows, taken = future_rows(row_M, window.horizon), future_rows(row_M[other_M], window.horizon)
    changed = {name: getattr(cut, name).copy() for name in ("target_RC", "observed_RC", "past_RP")}
    for values in changed.values():
        values[rows] = values[taken]
    mixed, held_M = _dealt(replace(cut, **changed), random)
    policy = _trained(config, mixed, scaler)
    actual, seen = mixed.target_RC[rows].astype(np.float64), mixed.observed_RC[rows] > 0
    guess_HC = np.nanmedian(np.where(seen & ~held_M[:, None, None], actual, np.nan), axis=0)
    guess_HC = np.where(np.isfinite(guess_HC), guess_HC, np.nanmedian(actual))
    forecast = policy.forecast_windows(mixed, row_M[held_M])[..., median_index(policy.quantiles)]
    unit_C = scaler.target_deviation
    error_M, guess_M = (
        (np.abs(one - actual[held_M]) * seen[held_M] / unit_C).sum(axis=(1, 2)) for one in (forecast, guess_HC)
    )
    gain = skill(error_M, guess_M, cut.steps(row_M[other_M])[held_M], window.horizon)
    if gain is None:
        return None
    beats = gain.value > (CLEAR if gain.interval and gain.interval[0] > 0 else UNSURE)
    side = "below" if gain.value > 0 else "above"
    text = f"forecasts {len(error_M):,} windows with an error {percent(abs(gain.value))} {side} a constant's"
    return _Told(len(error_M), text, beats, gain.value)


def _classes(config: Config, segments: Segments, parts: Boundaries, scaler: Scaler) -> _Told | None:
    """Each sequence given another one's class."""
    random = np.random.default_rng(config.seed)
    ids_M = spread(sequences(segments, parts, "train"), CASES, config.seed)
    if len(ids_M) < FEWEST:
        return None
    cut = segments.stretches(np.stack([segments.bounds[ids_M], segments.bounds[ids_M + 1]], axis=1))
    assert cut.label is not None, "sequences to classify have labels"
    label_S = random.permutation(cut.label)
    mixed, held_S = _dealt(replace(cut, label=label_S), random)
    # What no training sequence is, cannot be learned.
    known_S = np.isin(label_S, label_S[~held_S])
    mixed, held_S = replace(mixed, part_S=np.where(known_S, held_S, -1).astype(np.int8)), held_S & known_S
    policy = _trained(config, mixed, scaler)
    held = np.flatnonzero(held_S)
    told_M = policy.class_probabilities(mixed, held).argmax(axis=1)
    return _accuracy(told_M, label_S[held], "sequences")


def _labels(config: Config, segments: Segments, parts: Boundaries, scaler: Scaler) -> _Told | None:
    """Each step given another one's label."""
    random, size = np.random.default_rng(config.seed), STRETCH * config.window.history
    range_M2 = np.concatenate(
        [
            np.stack([np.arange(first, end, size), np.minimum(np.arange(first, end, size) + size, end)], axis=1)
            for first, end in step_ranges(segments, parts, "train")
        ]
    )
    chosen = spread(np.flatnonzero(np.diff(range_M2)[:, 0] > 2 * config.window.patch), CASES // STRETCH, config.seed)
    cut = segments.stretches(range_M2[chosen])
    assert cut.label_R is not None, "steps to label have labels"
    label_R = cut.label_R.copy()
    known = np.flatnonzero(~np.isnan(label_R))
    if len(known) < FEWEST or len(chosen) < 3:
        return None
    label_R[known] = label_R[random.permutation(known)]
    mixed, held_S = _dealt(replace(cut, label_R=label_R), random)
    held_R = np.repeat(held_S, np.diff(mixed.bounds))
    if segments.schema.classes:
        label_R[held_R & ~np.isin(label_R, label_R[~held_R])] = np.nan
    policy = _trained(config, mixed, scaler)
    told_RA = policy.tell_steps(mixed, np.stack([mixed.bounds[:-1], mixed.bounds[1:]], axis=1))
    asked_R = held_R & ~np.isnan(label_R)
    if segments.schema.classes:
        return _accuracy(told_RA[asked_R].argmax(axis=1), label_R[asked_R].astype(np.int64), "steps")
    guess = float(np.nanmedian(label_R[~held_R]))
    gain_M = np.abs(guess - label_R[asked_R]) - np.abs(told_RA[asked_R, 0] - label_R[asked_R])
    mean, deviation = float(gain_M.mean()), float(gain_M.std(ddof=1)) / np.sqrt(len(gain_M))
    share = mean / max(float(np.abs(guess - label_R[asked_R]).mean()), 1e-12)
    side = "below" if share > 0 else "above"
    text = f"tells {len(gain_M):,} steps with an error {percent(abs(share))} {side} a constant's"
    return _Told(len(gain_M), text, share > CLEAR and float(norm.sf(mean / max(deviation, 1e-12))) < LUCK, share)


TASKS = {"forecast": _forecasts, "classify": _classes, "label": _labels}


def _dealt(cut: Segments, random: np.random.Generator) -> tuple[Segments, NDArray]:
    """The segments dealt to training and validation at random, and which are the latter's, bool [S]."""
    held_S = random.random(len(cut.series)) < HELD_OUT
    return replace(cut, part_S=held_S.astype(np.int8)), held_S


def _trained(config: Config, mixed: Segments, scaler: Scaler) -> Policy:
    last = mixed.first_step + np.diff(mixed.bounds)
    whole: Boundaries = {part: (int(mixed.first_step.min()), int(last.max())) for part in PARTS}
    training = run_trial(config, mixed.scaled(scaler), whole, {}, scaler=scaler)
    return Policy(config, mixed.schema, scaler, training.network.state_dict())


def _accuracy(told_M: NDArray, label_M: NDArray, what: str) -> _Told | None:
    """Right answers beside those of always saying the commonest class."""
    num = len(label_M)
    if num < FEWEST * HELD_OUT / 2:
        return None
    right, common = int((told_M == label_M).sum()), int(np.bincount(label_M).max())
    text = f"tells {percent(right / num)} of {num:,} {what} right, and the commonest class {percent(common / num)}"
    luck = float(binom.sf(right - 1, num, common / num))
    return _Told(num, text, luck < LUCK, (right - common) / max(1, num - common))
