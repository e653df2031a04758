"""A policy's labels of steps, for segments and for series that a caller sends. Knows no files and no training.

Shapes: M steps, B sequences, T steps of a sequence, L steps of a series, P past and K known inputs, A answers for one step:
its classes, or its value alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lstm_ray.config import Config
from lstm_ray.data.schema import Scaler, Schema
from lstm_ray.data.steps import StepPlan, cut_steps, plan_steps, told_steps
from lstm_ray.data.windows import Batch, Segments, chunks


def tell_ranges(
    network: nn.Module, config: Config, scaler: Scaler, scaled: Segments, range_S2: NDArray, steps_at_a_time: int
) -> NDArray:
    """Class probabilities [M, classes], or values in the label's own units [M, 1], of the steps in some ranges of rows.

    Args:
        scaled: segments as a network reads them.
        range_S2: first and after-last row in each segment; what lies before is read, what lies after is not.
        steps_at_a_time: told in one pass, about.
    """
    first_S = scaled.bounds[:-1]
    plan = plan_steps(range_S2, first_S, config.window, config.train.origins)
    size = max(1, steps_at_a_time // (config.train.origins * config.window.patch))
    parts = [_told(network, scaled, plan, chosen) for chosen in chunks(np.arange(len(plan)), size)]
    width = len(scaled.schema.classes) or 1
    answer_MA = np.concatenate([np.empty((0, width), np.float32), *parts])
    return answer_MA if scaled.schema.classes else scaler.unscale_label(answer_MA)


def one_series(
    past_LP: NDArray, observed_LP: NDArray, known_LK: NDArray, category_1K: NDArray, schema: Schema
) -> Segments:
    """One caller's series, scaled, as segments that ``tell_ranges`` takes."""
    length = len(past_LP)
    return Segments(
        target_RC=np.empty((length, 0), np.float32),
        observed_RC=observed_LP.astype(np.float32),
        past_RP=past_LP,
        known_RK=known_LK,
        bounds=np.array([0, length]),
        series=[""],
        first_step=np.zeros(1, np.int64),
        label=None,
        schema=schema,
        category_SK=category_1K,
    )


def side_by_side(series: Sequence[Segments]) -> Segments:
    """Several series, scaled, as one set of segments, so that they are told in one pass."""
    ends = np.cumsum([0, *(len(one.past_RP) for one in series)])
    names = ("target_RC", "observed_RC", "past_RP", "known_RK", "first_step", "category_SK")
    joined = {name: np.concatenate([getattr(one, name) for one in series]) for name in names}
    return Segments(
        **joined, bounds=ends.astype(np.int64), series=[""] * len(series), label=None, schema=series[0].schema
    )


def _told(network: nn.Module, scaled: Segments, plan: StepPlan, chosen: NDArray) -> NDArray:
    """Answers for what some sequences tell, in order, [M, A]: probabilities, or scaled values."""
    answer_BTA = _answer(network, cut_steps(scaled, plan, chosen))
    answer_MA = answer_BTA[torch.from_numpy(told_steps(plan, chosen))]
    told_MA: NDArray = (answer_MA.softmax(-1) if scaled.schema.classes else answer_MA).numpy()
    return told_MA


def _answer(network: nn.Module, batch: Batch) -> torch.Tensor:
    inputs = (batch.past_BTP, batch.observed_BTC, batch.known_BTK, batch.origin_BN, batch.category_BS)
    with torch.inference_mode():
        answer: torch.Tensor = network(*map(torch.from_numpy, inputs))
    return answer
