"""What moved one answer of a policy: its inputs' contributions, stretch by stretch, in the units of the answer.

Integrated gradients (Sundararajan, Taly & Yan 2017) along the straight line from typical inputs, each at its training centre,
to those that were sent; the way back to the data's units is part of what is differentiated, so contributions add up to the
difference between the answer and that to typical inputs. What is left of it by the integral's points is told as the gap. Which
steps were measured, and categories, are held. Needs torch alone, as a server has it; ``attribution`` does the like for whole
parts of the data with captum. Knows no HTTP.

Shapes: O points of the line, T steps read, L of history, H horizon, C targets, F columns of one input, K answers explained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lstm_ray.data.schema import Role
from lstm_ray.data.steps import cut_steps, plan_steps
from lstm_ray.data.windows import Batch
from lstm_ray.model import conformal
from lstm_ray.model.network import forecaster
from lstm_ray.model.policy import Policy
from lstm_ray.model.request import SeriesInput
from lstm_ray.model.telling import one_series

POINTS, MORE_POINTS = 32, 128
"""Of the line, by Gauss and Legendre; more where the first leave a gap of more than ENOUGH."""
ENOUGH = 0.01
"""Share of the move."""
MOST_STRETCHES = 24
MOST_ANSWERS = 4
"""Targets explained: of more, those whose forecasts lie furthest from that of typical inputs."""
STEP = 0.02
"""In scaled units, by which the slope of the way back to the data's units is found."""
CALENDAR = "calendar"
Answer = Callable[[Sequence[Tensor]], Tensor]
"""Inputs of O sequences to what the network says of each, [O, ...]."""
Back = Callable[[NDArray], NDArray]
"""What a network says to the data's units, value by value: [O, ...] of any shape."""


@dataclass(frozen=True)
class Moved:
    """One number of an answer, and what moved it there."""

    name: str
    """Of the target, the class told, or the label."""
    answer: float
    baseline: float
    """The answer to typical inputs."""
    column_F: dict[str, NDArray]
    """Contributions of each column by stretch; all of them add up to ``answer - baseline - gap``."""
    gap: float


@dataclass(frozen=True)
class Explanation:
    """What moved the answer to one series."""

    of: str
    """What is explained, in words."""
    first: NDArray
    """Times at which the stretches begin, and end: patches of the history that the policy reads, then what is known ahead."""
    last: NDArray
    ahead: list[bool]
    moved: list[Moved]


@dataclass(frozen=True)
class _Asked:
    """One series as the network is asked about it."""

    answer: Answer
    inputs: list[Tensor]
    typical: list[Tensor]
    columns: list[list[str]]
    """Names of each input's columns."""
    times: NDArray
    """[T] of the steps; those of padding repeat a neighbour's."""
    skip: int
    """Steps of padding before the first."""
    history: int
    """Steps of history read, behind the padding."""
    ahead: int


def explain(policy: Policy, item: SeriesInput) -> Explanation:
    """What moved a policy's answer to one series: of a forecast the mean over the horizon of each target's median (of counts
    their mean), of a sequence the probability of the class told, of labels that of the newest step's, or its value.

    Raises:
        InputError: as ``Policy.predict``.
        FloatingPointError: the answer, or how it was moved, is not finite.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if policy.config.task == "forecast":
            return _of_forecast(policy, item)
        return _of_label(policy, item) if policy.config.task == "label" else _of_class(policy, item)


def _of_forecast(policy: Policy, item: SeriesInput) -> Explanation:
    read, schema, window = policy.requests.read(item, 0), policy.schema, policy.config.window
    counts = policy.config.model.distribution == "negative_binomial"
    held = _held(read.batch, "observed_BTC", "category_BS")
    knows = forecaster(policy.network)

    def answer(inputs: Sequence[Tensor]) -> Tensor:
        target, past, known = inputs
        observed, category = (one.expand(len(target), *one.shape[1:]) for one in held)
        raw_BNHCP = policy.network(target, observed, past, known, category)[:, -1:]
        if counts:
            return knows.mean(raw_BNHCP)[:, 0]
        found_BHC: Tensor = knows.forecast(raw_BNHCP)[:, 0, ..., policy.quantiles.index(0.5)]
        return found_BHC

    def back(scaled_OHC: NDArray) -> NDArray:
        values = policy.scaler.unscale(scaled_OHC, own=read.own)
        return values if counts else conformal.told(values[..., None], policy.config.model, [0.5])[..., 0]

    inputs = _held(read.batch, "target_BTC", "past_BTP", "known_BTK")
    typical = [torch.zeros_like(one) for one in inputs]
    if read.own is None:
        typical[0] += _centre(policy, "target")
    typical[1] += _centre(policy, "past")
    num = len(schema.known)
    typical[2][..., :num] += _centre(policy, "known")
    lagged, width = [], len(schema.target) + 1
    for at in range(schema.num_known, inputs[2].shape[2], width):
        # Whether a lag's step lies in the series is held; its values are typical where it does.
        present = inputs[2][..., at + width - 1 : at + width]
        typical[2][..., at + width - 1 : at + width] = present
        typical[2][..., at : at + width - 1] = typical[0][:, :1] * present
        lagged += [f"{name} (lags)" for name in schema.target] + [CALENDAR]
    columns = [schema.target, schema.past, [*schema.known, *_calendar(policy), *lagged]]
    history, horizon = window.history, window.horizon
    times = _times(policy, item, history, read.times)
    asked = _Asked(answer, inputs, typical, columns, times, 0, history, horizon)
    with torch.no_grad():
        far_KHC = (answer(inputs) - answer(typical))[0].numpy()
    furthest = np.argsort(-np.abs(far_KHC.mean(0)), kind="stable")[:MOST_ANSWERS]
    chosen = sorted(int(c) for c in furthest)

    def told(values_OHC: NDArray) -> NDArray:
        return back(values_OHC).mean(1, dtype=np.float64)[:, chosen]

    def slopes(values_OHC: NDArray) -> NDArray:
        slope_OHC = _slope(back, values_OHC) / horizon
        found_KOHC = np.zeros((len(chosen), *slope_OHC.shape))
        for k, c in enumerate(chosen):
            found_KOHC[k, ..., c] = slope_OHC[..., c]
        return found_KOHC

    what = "mean" if counts else "median"
    left = len(schema.target) - len(chosen)
    of = f"the mean over {horizon} steps of the {what} forecast of each target, in its own units"
    of += f"; {left} of {len(schema.target)} targets, which moved least, are left out" if left else ""
    return _explained(asked, told, slopes, [schema.target[c] for c in chosen], of, window.patch)


def _of_class(policy: Policy, item: SeriesInput) -> Explanation:
    read, schema = policy.requests.read(item, 0), policy.schema
    origin, category = _held(read.batch, "origin_BN", "category_BS")

    def answer(inputs: Sequence[Tensor]) -> Tensor:
        past, known = inputs
        num = len(past)
        logits_BA: Tensor = policy.network(past, known, origin.expand(num, -1), category.expand(num, -1))
        return logits_BA.softmax(-1)

    inputs = _held(read.batch, "past_BTP", "known_BTK")
    length = min(len(item.times), policy.config.window.history)
    asked = _Asked(
        answer, inputs, *_typical(policy, inputs, slice(0, length)), _times(policy, item, length), 0, length, 0
    )
    return _of_probability(asked, schema.classes, "the probability of the class told", policy.config.window.patch)


def _of_label(policy: Policy, item: SeriesInput) -> Explanation:
    read, schema, config = policy.requests.read(item, 0, whole=True), policy.schema, policy.config
    one, length = read.batch, len(item.times)
    series = one_series(one.past_BTP[0], one.observed_BTC[0], one.known_BTK[0], one.category_BS, schema)
    plan = plan_steps(np.array([[0, length]]), np.zeros(1, np.int64), config.window, config.train.origins)
    batch = cut_steps(series, plan, np.array([len(plan) - 1]))
    start = int(plan.row_M5[-1, 2])
    newest = length - 1 - start
    observed, origin, category = _held(batch, "observed_BTC", "origin_BN", "category_BS")

    def answer(inputs: Sequence[Tensor]) -> Tensor:
        past, known = inputs
        num = len(past)
        answer_BTA: Tensor = policy.network(
            past, observed.expand(num, -1, -1), known, origin.expand(num, -1), category.expand(num, -1)
        )
        answer_BA = answer_BTA[:, newest]
        return answer_BA.softmax(-1) if schema.classes else answer_BA

    inputs = _held(batch, "past_BTP", "known_BTK")
    skip, first = max(0, -start), max(0, start)
    held = slice(skip, newest + 1)
    times = _times(policy, item, length - first)
    asked = _Asked(answer, inputs, *_typical(policy, inputs, held), times, skip, length - first, 0)
    if schema.classes:
        of = "the probability of the newest step's class"
        return _of_probability(asked, schema.classes, of, config.window.patch)

    def told(values_OA: NDArray) -> NDArray:
        return policy.scaler.unscale_label(values_OA).astype(np.float64)

    def slopes(values_OA: NDArray) -> NDArray:
        return _slope(policy.scaler.unscale_label, values_OA)[None]

    of = "the newest step's value, in its own units"
    return _explained(asked, told, slopes, [schema.label or ""], of, config.window.patch)


def _of_probability(asked: _Asked, classes: Sequence[str], of: str, patch: int) -> Explanation:
    """Of the most probable class."""
    with torch.no_grad():
        best = int(asked.answer(asked.inputs)[0].argmax())

    def slopes(values_OA: NDArray) -> NDArray:
        found_KOA = np.zeros((1, *values_OA.shape))
        found_KOA[0, :, best] = 1
        return found_KOA

    return _explained(
        asked, lambda values_OA: values_OA[:, [best]].astype(np.float64), slopes, [classes[best]], of, patch
    )


def _explained(asked: _Asked, told: Back, slopes: Back, names: Sequence[str], of: str, patch: int) -> Explanation:
    """
    Args:
        told: what the network says to the K numbers explained, [O, K].
        slopes: of these by each value that it says, [K, O, ...].
    """
    with torch.no_grad():
        end_K, begin_K = (told(asked.answer(one).numpy())[0] for one in (asked.inputs, asked.typical))
    for points in (POINTS, MORE_POINTS):
        found_K = _integrated(asked, slopes, points)
        gap_K = end_K - begin_K - np.array([sum(float(one.sum()) for one in found) for found in found_K])
        if not np.isfinite(gap_K).all():
            raise FloatingPointError("what moved the answer is not finite, so it is not told")
        if (np.abs(gap_K) <= ENOUGH * np.abs(end_K - begin_K)).all():
            break
    edge = _edges(asked, patch)
    moved = []
    for k, name in enumerate(names):
        column_F: dict[str, NDArray] = {}
        for values_TF, columns in zip(found_K[k], asked.columns, strict=True):
            sums_EF = np.add.reduceat(np.concatenate([values_TF, np.zeros((1, values_TF.shape[1]))]), edge[:-1], axis=0)
            for f, column in enumerate(columns):
                column_F[column] = column_F.get(column, 0) + sums_EF[:, f]
        moved.append(Moved(name, float(end_K[k]), float(begin_K[k]), column_F, float(gap_K[k])))
    at = edge - asked.skip
    ends = np.minimum(at[1:], asked.history + asked.ahead) - 1
    return Explanation(
        of, asked.times[np.maximum(at[:-1], 0)], asked.times[ends], [b >= asked.history for b in at[:-1]], moved
    )


def _integrated(asked: _Asked, slopes: Back, points: int) -> list[list[NDArray]]:
    """Contributions to each of K numbers of every value of the inputs, float64 [T, F] each."""
    node_O, weight_O = np.polynomial.legendre.leggauss(points)
    share_O = torch.from_numpy(((node_O + 1) / 2).astype(np.float32))[:, None, None]
    inputs = [
        (typical + share_O * (one - typical)).requires_grad_()
        for one, typical in zip(asked.inputs, asked.typical, strict=True)
    ]
    said = asked.answer(inputs)
    slope_K = slopes(said.detach().numpy()) * (weight_O / 2).reshape(1, -1, *[1] * (said.dim() - 1))
    found = []
    for k, slope in enumerate(slope_K):
        if not np.isfinite(slope).all():
            raise FloatingPointError("what the network says on the way from typical inputs is not finite")
        gradients = torch.autograd.grad(
            said,
            inputs,
            torch.from_numpy(slope.astype(np.float32)),
            retain_graph=k + 1 < len(slope_K),
            allow_unused=True,
        )
        parts = []
        for gradient, one, typical in zip(gradients, asked.inputs, asked.typical, strict=True):
            total_TF = torch.zeros_like(one[0]) if gradient is None else gradient.double().sum(0)
            parts.append((total_TF * (one - typical)[0]).double().numpy())
        found.append(parts)
    return found


def _edges(asked: _Asked, patch: int) -> NDArray:
    """First steps of the stretches, and the one after the last: whole patches that end the history, then what lies ahead."""
    length = asked.history
    patches = max(1, -(-length // patch))
    wide = -(-patches // MOST_STRETCHES) * patch
    last = np.arange(length, 0, -wide)[::-1]
    inner = asked.skip + np.concatenate([[0], last])
    # Padding contributes nothing; it is counted with its neighbours.
    inner[0] = 0
    return np.append(inner, asked.skip + length + asked.ahead) if asked.ahead else inner


def _slope(back: Back, values: NDArray) -> NDArray:
    """Of a function of each value by itself, float64."""
    wide = values.astype(np.float64)
    return (back(wide + STEP).astype(np.float64) - back(wide - STEP)) / (2 * STEP)


def _held(batch: Batch, *names: str) -> list[Tensor]:
    return [torch.from_numpy(getattr(batch, name)) for name in names]


def _centre(policy: Policy, role: Role) -> Tensor:
    """What a column is read as at the centre of its training part, [F]."""
    centre_F = np.array([policy.scaler.centre(role)], dtype=np.float32)
    return torch.from_numpy(np.asarray(policy.scaler.scale(centre_F, role)[0], dtype=np.float32))


def _calendar(policy: Policy) -> list[str]:
    return [CALENDAR] * (policy.schema.num_known - len(policy.schema.known))


def _typical(policy: Policy, inputs: Sequence[Tensor], held: slice) -> tuple[list[Tensor], list[list[str]]]:
    """Of past and known inputs in these steps, zeros in padding; and the names of their columns."""
    typical = [torch.zeros_like(one) for one in inputs]
    num = len(policy.schema.known)
    typical[0][:, held] += _centre(policy, "past")
    typical[1][:, held, :num] += _centre(policy, "known")
    return typical, [policy.schema.past, [*policy.schema.known, *_calendar(policy)]]


def _times(policy: Policy, item: SeriesInput, length: int, ahead: NDArray | None = None) -> NDArray:
    """Of the newest steps that were sent, and of those ahead."""
    sent = policy.schema.of_ticks(policy.requests.ticks(item.times[-length:], "series"))
    return sent if ahead is None else np.concatenate([sent, ahead])
