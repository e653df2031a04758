"""Units inside a graph: what ``Scaler``, ``Transform`` and ``Conformal`` do in NumPy, as torch modules. Knows no network.

Shapes: F columns of one role, C targets, Q quantiles.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lstm_ray.data.scaling.transform import MAX_LOGARITHM, MOST, Transform
from lstm_ray.data.schema import Role, Scaler
from lstm_ray.model.conformal import LIMITS, Conformal


class Reads(nn.Module):
    """``Scaler.scale``: columns of one role [..., F] in the data's own units as a network reads them; NaN is read as the
    typical value."""

    zero: Tensor
    unit: Tensor
    typical: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, scaler: Scaler, role: Role) -> None:
        super().__init__()
        zero_F, unit_F = scaler.units(role)
        fence = scaler.fences[role] if scaler.fences is not None else None
        self.fenced = fence is not None
        self.transform = Transforms(scaler.transform) if role == "target" and scaler.transform is not None else None
        nothing = np.full((1, len(zero_F)), np.nan, np.float32)
        for name, numbers in (
            ("zero", zero_F),
            ("unit", unit_F),
            ("typical", scaler.scale(nothing, role)[0]),
            ("low", fence.low if fence else zero_F),
            ("high", fence.high if fence else zero_F),
        ):
            self.register_buffer(name, torch.from_numpy(np.array(numbers, np.float32)))

    def forward(self, values: Tensor, zero: Tensor | None = None, unit: Tensor | None = None) -> Tensor:
        """``zero`` and ``unit``: of the targets, where each series has its own; in a shape that meets the values'."""
        missing = values.isnan()
        given = torch.where(missing, torch.zeros_like(values), values)
        if self.fenced:
            given = torch.minimum(torch.maximum(given, self.low), self.high)
        learned = given if self.transform is None else self.transform(given)
        own = zero is not None and unit is not None
        scaled = ((learned - zero) / unit) if own else (learned - self.zero) / self.unit  # type: ignore[operator]
        typical = torch.zeros_like(self.typical) if own else self.typical
        return torch.where(missing, typical, scaled.float())


class Tells(nn.Module):
    """Scaled quantiles [B, H, C, Q] in the data's own units, calibrated where the policy is."""

    zero: Tensor
    unit: Tensor
    shift: Tensor
    floor: Tensor

    def __init__(self, scaler: Scaler, calibration: Conformal | None, output: str) -> None:
        super().__init__()
        zero_C, unit_C = scaler.units("target")
        self.register_buffer("zero", torch.from_numpy(zero_C.copy()))
        self.register_buffer("unit", torch.from_numpy(unit_C.copy()))
        self.transform = Transforms(scaler.transform) if scaler.transform is not None else None
        self.limits = LIMITS.get(output) if calibration is not None else None
        self.middle = None
        if calibration is not None:
            self.middle = calibration.levels.index(0.5)
            self.register_buffer("shift", torch.from_numpy(calibration.shift_HCQ.astype(np.float32)))
            self.register_buffer("floor", torch.from_numpy(calibration.floor_C.astype(np.float32)))

    def forward(self, scaled_BHCQ: Tensor, zero_BC: Tensor | None = None, unit_BC: Tensor | None = None) -> Tensor:
        if self.middle is not None:
            scaled_BHCQ = self._moved(scaled_BHCQ, self.middle)
        scaled_BHQC = scaled_BHCQ.transpose(-1, -2)
        zero = self.zero if zero_BC is None else zero_BC[:, None, None]
        unit = self.unit if unit_BC is None else unit_BC[:, None, None]
        found = scaled_BHQC * unit + zero
        if self.transform is not None:
            found = self.transform.invert(found)
        if self.limits is not None:
            found = found.clamp(*(limit if np.isfinite(limit) else None for limit in self.limits))
        return found.transpose(-1, -2)

    def _moved(self, scaled_BHCQ: Tensor, middle: int) -> Tensor:
        """``conformal.moved``."""
        width_BHC = torch.maximum(scaled_BHCQ[..., -1] - scaled_BHCQ[..., 0], self.floor)
        rows = list((scaled_BHCQ + self.shift * width_BHC[..., None]).unbind(-1))
        for q in range(middle + 1, len(rows)):
            rows[q] = torch.maximum(rows[q], rows[q - 1])
        for q in range(middle - 1, -1, -1):
            rows[q] = torch.minimum(rows[q], rows[q + 1])
        return torch.stack(rows, -1)


class Transforms(nn.Module):
    """``Transform`` of values [..., C], without NaN; powers are taken in float64, as there."""

    power: Tensor
    offset: Tensor
    least: Tensor
    unit: Tensor

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self.kind = transform.kind
        dtype = np.float32 if self.kind == "log" else np.float64
        for name in ("power", "offset", "least", "unit"):
            self.register_buffer(name, torch.from_numpy(np.array(getattr(transform, name), dtype)))

    def forward(self, values: Tensor) -> Tensor:
        if self.kind == "log":
            return (values.clamp_min(0) + self.offset).log()
        values = values.double()
        if self.kind != "yeo_johnson":
            return self._power((torch.maximum(values, self.least) + self.offset).log(), self.power).clamp_max(MOST)
        size = values / self.unit
        own = torch.where(size >= 0, self.power, 2 - self.power)
        return size.sign() * self._power(size.abs().log1p(), own).clamp_max(MOST)

    def invert(self, values: Tensor) -> Tensor:
        """The inverse, float32."""
        if self.kind == "log":
            return (values.clamp_max(MAX_LOGARITHM).exp() - self.offset).clamp_min(0)
        values = values.double()
        if self.kind != "yeo_johnson":
            raised = self._logarithm(values, self.power).clamp_max(MAX_LOGARITHM).exp() - self.offset
            return torch.maximum(raised, self.least).float()
        own = torch.where(values >= 0, self.power, 2 - self.power)
        most = self._logarithm(values.abs(), own).clamp_max(MAX_LOGARITHM)
        highest = float(np.finfo(np.float32).max)
        return (values.sign() * most.expm1() * self.unit).clamp(-highest, highest).float()

    def _power(self, logarithm: Tensor, power: Tensor) -> Tensor:
        some = torch.where(power == 0, torch.ones_like(power), power)
        return torch.where(power == 0, logarithm, (some * logarithm).expm1() / some)

    def _logarithm(self, values: Tensor, power: Tensor) -> Tensor:
        some = torch.where(power == 0, torch.ones_like(power), power)
        return torch.where(power == 0, values, (some * values).clamp_min(-1).log1p() / some)


def as_tensor(values: NDArray) -> Tensor:
    """A tensor of its own, for a graph's inputs."""
    return torch.from_numpy(np.ascontiguousarray(values))
