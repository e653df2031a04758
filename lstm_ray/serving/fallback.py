"""What is answered where a policy's own answer is not finite. NumPy alone: whatever broke the network cannot break this.

A forecast is answered by the seasonal naive one of the caller's own history, with the spread that this forecast has had there:
that of its seasonal differences, which grows with the root of the seasons ahead (Hyndman & Athanasopoulos 2021, 5.5). A class
is answered by the classes' shares of the training part, a value by its mean there. Each is flagged and says so in words.

Shapes: T steps of history, H horizon, C targets, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.parts import Boundaries
from lstm_ray.data.steps import class_counts
from lstm_ray.data.windows import Segments, sequences
from lstm_ray.model.conformal import told
from lstm_ray.model.levels import NORMAL
from lstm_ray.model.policy import Classification, Forecast, Policy, Prediction
from lstm_ray.model.request import SeriesInput

SEASONAL, LAST, SHARES, MEAN = "seasonal naive", "last value", "training shares", "training mean"
SHARES_KEY = "class_shares"
"""Where a policy's facts hold each class's share of the training part, in the order of ``schema.classes``."""
FEWEST = 8
"""Differences in a history that its spread is read from; with fewer it is the training part's deviation."""


def is_finite(prediction: Prediction) -> bool:
    """Whether all that would be told of it is finite."""
    if isinstance(prediction, Forecast):
        told = [prediction.values_HCQ, *prediction.more.values()]
        told += [] if prediction.mean_HC is None else [prediction.mean_HC]
        return all(bool(np.isfinite(values).all()) for values in told)
    values = prediction.probabilities if isinstance(prediction, Classification) else prediction.answer_LA
    return bool(np.isfinite(values).all())


def instead(policy: Policy, item: SeriesInput, broken: Prediction) -> Prediction:
    """The answer in the place of one that is not finite, to what a caller sent."""
    if isinstance(broken, Forecast):
        columns = [np.asarray(item.columns[name], dtype=np.float64) for name in policy.schema.target]
        return forecast(policy, np.stack(columns, axis=1), broken)
    shares, of = _shares(policy)
    if isinstance(broken, Classification):
        words = f"the policy's answer was not finite: these are {of}, whatever was sent"
        return replace(broken, probabilities=shares, warnings=[*broken.warnings, words], fallback=SHARES)
    label = policy.scaler.label
    if label is None:
        answer_LA, kind = np.tile(shares, (len(broken.times), 1)), SHARES
    else:
        answer_LA, of, kind = np.full((len(broken.times), 1), label.mean[0]), "the training part's mean", MEAN
    words = f"the policy's answer was not finite: this is {of} at every step, whatever was sent"
    return replace(broken, answer_LA=answer_LA, warnings=[*broken.warnings, words], fallback=kind)


def forecast(policy: Policy, value_TC: NDArray, broken: Forecast) -> Forecast:
    """The seasonal naive forecast of a history, NaN where missing, in the place of a broken one.

    A step whose season was not measured takes that of the season before, then the last value measured; a history shorter than
    a season, or of a policy without one, repeats its last value; one without any value, the training part's mean.
    """
    horizon, season = policy.config.window.horizon, policy.config.window.season
    kind = SEASONAL if 1 < season <= len(value_TC) else LAST
    season = season if kind == SEASONAL else 1
    naive_HC = np.stack(
        [
            _naive(value_T, horizon, season, float(mean))
            for value_T, mean in zip(value_TC.T, policy.scaler.target_mean, strict=True)
        ],
        axis=1,
    )
    # float64 holds the square of any value that a request may bring (float32's largest).
    change_TC = value_TC[season:] - value_TC[:-season]
    seen_C = np.isfinite(change_TC).sum(0)
    spread_C = np.sqrt(np.nansum(np.square(change_TC), axis=0) / np.maximum(seen_C, 1))
    spread_C = np.where(seen_C >= FEWEST, spread_C, policy.scaler.target_deviation)
    seasons_H = np.sqrt(np.arange(horizon) // season + 1)
    levels = [*policy.quantiles, *broken.more]
    score_A = np.array([NORMAL.inv_cdf(level) for level in levels])
    values_HCA = naive_HC[..., None] + seasons_H[:, None, None] * spread_C[:, None] * score_A
    values_HCA = told(values_HCA, policy.config.model, levels)
    own = len(policy.quantiles)
    repeated = f"the last {season} steps repeated" if kind == SEASONAL else "the last value repeated"
    words = f"the policy's forecast was not finite: this is the {kind} forecast instead, {repeated}"
    return replace(
        broken,
        values_HCQ=values_HCA[..., :own],
        mean_HC=naive_HC,
        more={level: values_HCA[..., own + a] for a, level in enumerate(broken.more)},
        warnings=[*broken.warnings, words],
        fallback=kind,
    )


def shares_of(segments: Segments, parts: Boundaries) -> list[float]:
    """Each class's share of the training part's sequences, or of its labelled steps: what a policy's facts carry."""
    if segments.label is None:
        count = class_counts(segments, parts, "train")
    else:
        found = segments.label[sequences(segments, parts, "train")]
        count = np.bincount(found[found >= 0], minlength=len(segments.schema.classes))
    return [float(share) for share in count / max(1, count.sum())]


def _naive(value_T: NDArray, horizon: int, season: int, mean: float) -> NDArray:
    """[H]"""
    known = np.flatnonzero(np.isfinite(value_T))
    last = float(value_T[known[-1]]) if len(known) else mean
    # The newest measured value of each phase of the season; [seasons, season], the newest season last.
    padded = np.concatenate([np.full(-len(value_T) % season, np.nan), value_T]).reshape(-1, season)
    newest = np.where(np.isfinite(padded), np.arange(len(padded))[:, None], -1).max(0)
    phase = np.where(newest < 0, last, padded[newest, np.arange(season)])
    found: NDArray = np.resize(phase, horizon)
    return found


def _shares(policy: Policy) -> tuple[NDArray, str]:
    """Of the classes, and what they are in words."""
    classes: Sequence[str] = policy.schema.classes
    shares = policy.facts.get(SHARES_KEY)
    if isinstance(shares, list) and len(shares) == len(classes):
        return np.asarray(shares, dtype=np.float64), "the classes' shares of the training part"
    return np.full(max(1, len(classes)), 1 / max(1, len(classes))), "equal shares (the bundle carries no others)"
