"""A policy as one module: from values in the data's own units to its answer in them. Knows no file and no exporter.

Shapes: B sequences, T steps of a history, H horizon, N patches, C targets, P past inputs, K known columns, A calendar
columns, J lags, S categorical columns, Q quantiles.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lstm_ray.errors import InputError
from lstm_ray.model.ensemble import Ensemble
from lstm_ray.model.export.body import GraphBody
from lstm_ray.model.export.units import Reads, Tells
from lstm_ray.model.kernels import LENGTH, KernelRidge
from lstm_ray.model.policy import Policy


def refuse_what_no_graph_holds(policy: Policy) -> None:
    """Raises InputError that names the setting."""
    model, cleaning = policy.config.model, policy.scaler.cleaning
    if model.distribution == "negative_binomial":
        raise InputError(
            "model.distribution is negative_binomial, whose quantiles are counted up until they are reached: no graph holds "
            "a loop as long as the data asks for; export a policy with model.quantiles, gaussian or student_t"
        )
    if cleaning is not None and (cleaning.action == "mask" or policy.scaler.fences is None):
        raise InputError(
            f"preprocess.outliers is {cleaning.action} by outlier_method {cleaning.method}, which fills what it finds from "
            "the steps before: no graph does; export a policy with outliers: keep, or clip by z or iqr"
        )


def graph(policy: Policy, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The module that answers as the policy does. Raises InputError where no graph can.

    Args:
        dtype: of the LSTM layers alone; what comes before and after stays as it is.
    """
    refuse_what_no_graph_holds(policy)
    mixed = _Mixed(policy.network, dtype)
    kinds = {"forecast": ForecastGraph, "classify": ClassifyGraph, "label": LabelGraph}
    return kinds[policy.config.task](policy, mixed).eval()


class _Known(nn.Module):
    """Known columns and the calendar's, side by side and scaled, [B, T, K + A]."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.reads = Reads(policy.scaler, "known") if policy.schema.known else None

    def forward(self, steps_BT: Tensor, known_BTK: Tensor | None, calendar_BTA: Tensor | None) -> Tensor:
        parts = []
        if self.reads is not None and known_BTK is not None:
            parts.append(self.reads(known_BTK))
        if calendar_BTA is not None:
            parts.append(calendar_BTA)
        return torch.cat(parts, -1) if parts else steps_BT[..., None][..., :0]


class ForecastGraph(nn.Module):
    """Forecasts at the end of a history of any whole number of patches, [B, H, C, Q]."""

    def __init__(self, policy: Policy, mixed: _Mixed) -> None:
        super().__init__()
        config, scaler = policy.config, policy.scaler
        self.horizon = config.window.horizon
        self.mixed = mixed
        self.target, self.past = Reads(scaler, "target"), Reads(scaler, "past") if policy.schema.past else None
        self.known, self.tells = _Known(policy), Tells(scaler, policy.calibration, config.model.output)

    def forward(
        self,
        target: Tensor,
        observed: Tensor,
        past: Tensor | None = None,
        known: Tensor | None = None,
        calendar: Tensor | None = None,
        lags: Tensor | None = None,
        category: Tensor | None = None,
        zero: Tensor | None = None,
        unit: Tensor | None = None,
    ) -> Tensor:
        own = (None, None) if zero is None or unit is None else (zero[:, None], unit[:, None])
        ahead = (0, 0, 0, self.horizon)
        target_BTC = functional.pad(self.target(target, *own), ahead)
        observed_BTC = functional.pad(observed, ahead)
        past_BTP = target_BTC[..., :0] if self.past is None or past is None else functional.pad(self.past(past), ahead)
        known_BTK = self.known(target_BTC[..., 0], known, calendar)
        if lags is not None:
            known_BTK = torch.cat([known_BTK, self._lagged(lags, *own)], -1)
        raw_BNHCP = self.mixed(target_BTC, observed_BTC, past_BTP, known_BTK, category, newest=True)
        scaled_BHCQ = self.mixed.first.forecast(raw_BNHCP)[:, 0]
        told: Tensor = self.tells(scaled_BHCQ, zero, unit)
        return told

    def _lagged(self, lags_BTJC: Tensor, zero: Tensor | None, unit: Tensor | None) -> Tensor:
        """[B, T, J, C], NaN where a lag is absent -> [B, T, J (C + 1)], as ``data.lags`` lays them out."""
        own = (None, None) if zero is None or unit is None else (zero[:, None], unit[:, None])
        there_BTJ1 = (~lags_BTJC.isnan()).float().amax(-1, keepdim=True)
        value_BTJC = self.target(lags_BTJC, *own) * there_BTJ1
        return torch.cat([value_BTJC, there_BTJ1], -1).flatten(2)


class ClassifyGraph(nn.Module):
    """Class probabilities of whole sequences, [B, classes]."""

    def __init__(self, policy: Policy, mixed: _Mixed) -> None:
        super().__init__()
        self.patch, self.mixed = policy.config.window.patch, mixed
        self.past = Reads(policy.scaler, "past") if policy.schema.past else None
        self.known = _Known(policy)

    def forward(
        self,
        inside: Tensor,
        past: Tensor | None = None,
        known: Tensor | None = None,
        calendar: Tensor | None = None,
        category: Tensor | None = None,
    ) -> Tensor:
        held_BT1 = inside[..., None]
        past_BTP = held_BT1[..., :0] if self.past is None or past is None else self.past(past) * held_BT1
        known_BTK = self.known(inside, known, calendar) * held_BT1
        logits: Tensor = self.mixed(past_BTP, known_BTK, _of_patches(inside, self.patch), category)
        return logits.softmax(-1)


class LabelGraph(nn.Module):
    """Class probabilities, or the value, of every step, [B, T, classes or 1]."""

    def __init__(self, policy: Policy, mixed: _Mixed) -> None:
        super().__init__()
        self.patch, self.mixed = policy.config.window.patch, mixed
        self.past = Reads(policy.scaler, "past") if policy.schema.past else None
        self.known, self.classes = _Known(policy), bool(policy.schema.classes)
        label = policy.scaler.label
        self.mean, self.deviation = (label.mean[0], label.deviation[0]) if label is not None else (0.0, 1.0)

    def forward(
        self,
        inside: Tensor,
        past: Tensor | None = None,
        observed: Tensor | None = None,
        known: Tensor | None = None,
        calendar: Tensor | None = None,
        category: Tensor | None = None,
    ) -> Tensor:
        held_BT1 = inside[..., None]
        past_BTP = observed_BTP = held_BT1[..., :0]
        if self.past is not None and past is not None and observed is not None:
            past_BTP, observed_BTP = self.past(past) * held_BT1, observed * held_BT1
        known_BTK = self.known(inside, known, calendar) * held_BT1
        answer_BTA: Tensor = self.mixed(past_BTP, observed_BTP, known_BTK, _of_patches(inside, self.patch), category)
        return answer_BTA.softmax(-1) if self.classes else answer_BTA * self.deviation + self.mean


def _of_patches(inside_BT: Tensor, patch: int) -> Tensor:
    """1 for patches that hold at least one step, [B, N]."""
    return inside_BT.unflatten(1, (-1, patch)).amax(2)


class _Mixed(nn.Module):
    """An ensemble's weighted sum, its weights numbers of the graph; members that no exporter takes as they are, rewritten."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        members = list(_heard(network))
        self.shares = [share for share, _ in members]
        self.members = nn.ModuleList(_exportable(member, dtype) for _, member in members)

    @property
    def first(self) -> Any:
        return self.members[0]

    def forward(self, *inputs: Tensor | None, **options: bool) -> Tensor:
        found: Tensor | None = None
        for share, member in zip(self.shares, self.members, strict=True):
            answer = member(*inputs, **options) if share == 1 else share * member(*inputs, **options)
            found = answer if found is None else found + answer
        assert found is not None, "a network has members"
        return found


def _heard(network: nn.Module) -> Iterator[tuple[float, nn.Module]]:
    """The members that answer, and how much of the answer is each one's."""
    if not isinstance(network, Ensemble):
        yield 1.0, network
        return
    for share, member in zip(network.weight_E.tolist(), network.members, strict=True):
        if share:
            yield share, member


def _exportable(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A network with the same weights whose every part is an operator of a graph."""
    if isinstance(network, KernelRidge):
        return _Kernels(network)
    found = copy.copy(network)
    found._modules = {**network._modules, "body": GraphBody(network.body, dtype)}  # type: ignore[arg-type]
    return found


class _Kernels(nn.Module):
    """A ``KernelRidge`` whose convolutions are products of float64, which onnxruntime has; its own are exact, so these are."""

    def __init__(self, ridge: KernelRidge) -> None:
        super().__init__()
        self.ridge = ridge
        for at, weight_JFL in enumerate(ridge.weight_VJFL):
            # [J, F, LENGTH] -> [LENGTH F, J]
            self.register_buffer(f"weight_{at}", weight_JFL.permute(2, 1, 0).flatten(0, 1).double())

    def forward(self, past_BTP: Tensor, known_BTK: Tensor, inside_BN: Tensor, category_BS: Tensor | None) -> Tensor:
        ridge, inputs_BTF = self.ridge, torch.cat([past_BTP, known_BTK], -1).double()
        num_steps = inputs_BTF.shape[1]
        inside_BT = inside_BN[:, :, None].expand(-1, -1, ridge.patch).flatten(1)
        found = []
        for at, (apart, threshold_JW) in enumerate(zip(ridge.dilations, ridge.threshold_VJW, strict=True)):
            reach = LENGTH // 2 * apart
            padded = functional.pad(inputs_BTF, (0, 0, reach, reach))
            taps = torch.cat([padded[:, tap * apart : tap * apart + num_steps] for tap in range(LENGTH)], -1)
            output_BJT = (taps @ getattr(self, f"weight_{at}")).float().transpose(1, 2)
            for threshold_J in threshold_JW.unbind(1):
                above_BJT = (output_BJT > threshold_J[:, None]).float()
                found.append((above_BJT @ inside_BT[:, :, None])[..., 0] / inside_BT.sum(1, keepdim=True))
        return ridge.ridge_AK[0] + torch.cat(found, 1) @ ridge.ridge_AK[1:]
