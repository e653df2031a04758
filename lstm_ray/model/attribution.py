"""How far each input value moved a policy's answer from that to typical inputs: integrated gradients.

Of Sundararajan, Taly & Yan (2017), computed by captum, which the extra 'explain' brings. Their axiom of completeness is
measured: what all inputs moved adds up to how far the answer moved. Knows networks and batches; knows no figures.

Shapes: B windows or sequences, T steps, C targets, P past and K known inputs (those of window.lags at their end).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lstm_ray.data.steps import cut_steps, plan_steps, told_steps
from lstm_ray.data.windows import Batch, Segments, chunks, cut_sequences, cut_windows, longest_sequence
from lstm_ray.errors import InputError
from lstm_ray.model.network import forecaster
from lstm_ray.model.policy import Policy

POINTS = 32
"""Of the path from typical inputs to the real ones at which gradients are taken (Gauss-Legendre)."""
AT_A_TIME = 16
"""Windows whose gradients are held at once, POINTS times each."""
NEEDED = (
    "evaluate.explain: gradients needs the extra 'explain': pip install lstm-ray[explain], or set it to permutation"
)
Answer = Callable[..., Tensor]
"""Inputs to one number for each window, [B]."""
Asked = tuple[Answer, tuple[Tensor, ...], tuple[Any, ...]]
"""What to ask, the inputs that moved it, and those that are held."""


@dataclass(frozen=True)
class Attribution:
    """How far each value moved the answer, in the units of the answer."""

    target_BTC: NDArray
    """Of classes and labels [B, T, 0]."""
    past_BTP: NDArray
    known_BTK: NDArray
    moved_B: NDArray
    """How far the answer moved."""
    gap_B: NDArray
    """By how much the attributions do not add up to that."""

    @property
    def gap(self) -> float:
        """Mean size of what is missing, as a share of the mean size of the move; 0 where nothing moved."""
        moved = float(np.abs(self.moved_B).mean())
        return float(np.abs(self.gap_B).mean()) / moved if moved else 0.0


def of_forecasts(policy: Policy, segments: Segments, origin_M: NDArray) -> Attribution:
    """Of the median forecast's mean over horizon and targets, in scaled units. Which steps were observed, and categories, are
    held; the typical value of every other input is 0 as it is scaled."""
    scaled, network = segments.scaled(policy.scaler), policy.network
    median = policy.quantiles.index(0.5)

    def answer(target: Tensor, past: Tensor, known: Tensor, observed: Tensor, category: Tensor) -> Tensor:
        raw_BNHCP = network(target, observed, past, known, category)[:, -1:]
        found_BHC: Tensor = forecaster(network).forecast(raw_BNHCP)[:, 0, ..., median]
        return found_BHC.mean((1, 2))

    def asked() -> Iterator[Asked]:
        for some in chunks(origin_M, AT_A_TIME):
            batch = cut_windows(scaled, some, policy.config.window)
            observed, category = torch.from_numpy(batch.observed_BTC), torch.from_numpy(batch.category_BS)
            yield answer, _inputs(batch, "target_BTC", "past_BTP", "known_BTK"), (observed, category)

    return _joined(asked(), has_target=True)


def of_classes(policy: Policy, segments: Segments, ids_M: NDArray) -> Attribution:
    """Of the score (logit) of the class that each whole sequence is told to be."""
    scaled, network, window = segments.scaled(policy.scaler), policy.network, policy.config.window
    steps = longest_sequence(scaled, window.history)

    def asked() -> Iterator[Asked]:
        for some in chunks(ids_M, AT_A_TIME):
            batch = cut_sequences(scaled, some, steps, window.patch)
            held = torch.from_numpy(batch.origin_BN), torch.from_numpy(batch.category_BS)
            inputs = _inputs(batch, "past_BTP", "known_BTK")
            with torch.no_grad():
                told_B = network(*inputs, *held).argmax(-1, keepdim=True)

            def answer(past: Tensor, known: Tensor, origin: Tensor, category: Tensor, told: Tensor) -> Tensor:
                return network(past, known, origin, category).gather(-1, told)[:, 0]

            yield answer, inputs, (*held, told_B)

    return _joined(asked(), has_target=False)


def of_labels(policy: Policy, segments: Segments, range_S2: NDArray) -> Attribution:
    """Of the mean over the steps in some ranges of rows: of the score of the class told, or of the scaled value."""
    scaled, network, config = segments.scaled(policy.scaler), policy.network, policy.config
    plan = plan_steps(range_S2, scaled.bounds[:-1], config.window, config.train.origins)

    def asked() -> Iterator[Asked]:
        for some in chunks(np.arange(len(plan)), AT_A_TIME):
            batch = cut_steps(scaled, plan, some)
            held = _inputs(batch, "observed_BTC", "origin_BN", "category_BS")
            inputs = _inputs(batch, "past_BTP", "known_BTK")
            share_BT = torch.from_numpy(told_steps(plan, some)).float()
            share_BT /= share_BT.sum(1, keepdim=True).clamp_min(1)
            with torch.no_grad():
                told_BT1 = network(inputs[0], held[0], inputs[1], *held[1:]).argmax(-1, keepdim=True)

            def answer(
                past: Tensor,
                known: Tensor,
                observed: Tensor,
                origin: Tensor,
                category: Tensor,
                told: Tensor,
                share: Tensor,
            ) -> Tensor:
                found_BTA = network(past, observed, known, origin, category)
                return (found_BTA.gather(-1, told)[..., 0] * share).sum(1)

            yield answer, inputs, (*held, told_BT1, share_BT)

    return _joined(asked(), has_target=False)


def _joined(asked: Iterator[Asked], *, has_target: bool) -> Attribution:
    """The attributions of batches, one after another."""
    method = _captum().IntegratedGradients
    parts: list[list[NDArray]] = []
    for answer, inputs, held in asked:
        typical = tuple(torch.zeros_like(one) for one in inputs)
        found = method(answer).attribute(inputs, typical, additional_forward_args=held, n_steps=POINTS)
        with torch.no_grad():
            moved_B = (answer(*inputs, *held) - answer(*typical, *held)).numpy().astype(np.float64)
        values = [one.detach().numpy() for one in found]
        if not has_target:
            values.insert(0, np.empty((*values[0].shape[:2], 0), np.float32))
        total_B = sum(one.sum((1, 2), dtype=np.float64) for one in values)
        parts.append([*values, moved_B, moved_B - total_B])
    return Attribution(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def _inputs(batch: Batch, *names: str) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(getattr(batch, name)) for name in names)


def _captum() -> Any:
    try:
        return import_module("captum.attr")
    except ImportError:
        raise InputError(NEEDED) from None
