"""The transform of the targets, fitted on sums of the training part. SciPy; what it fits, ``transform`` applies without."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from lstm_ray.data.scaling.scales import DIGITS
from lstm_ray.data.scaling.sums import Moments, Sketch
from lstm_ray.data.scaling.transform import Kind, Transform
from lstm_ray.errors import InputError

OFFSET = 0.02
"""What is added before taking logarithms, as a share of a typical series' mean."""
LEAST = 0.1
"""Share of the training part's least value (above the lowest that has an answer) that is still told apart."""
POWERS = (0.0, 2.0)
"""Powers tried. With one below 0 there is a highest value that is ever told, as with Yeo & Johnson's there is a lowest for
those above 2: a forecast that errs beyond would be infinite in the data's units."""
TOLERANCE = 1e-6


def transform_of(
    wanted: str, moments: Moments, sketches: list[Sketch], size_SC: NDArray | None, names: list[str]
) -> Transform:
    """The transform of every target. Raises InputError where a value in the training part has none."""
    kind: Kind = wanted  # type: ignore[assignment]
    held = moments.count_F > 0
    low_C = np.where(held, moments.low_F, 1.0)
    for name, low in zip(names, low_C, strict=True):
        _require_domain(kind, name, float(low))
    none, ones = [0.0] * len(names), [1.0] * len(names)
    if kind == "log":
        assert size_SC is not None, "sums_of keeps the sizes of series for logarithms"
        return Transform(kind=kind, power=none, offset=[_offset(s) for s in size_SC.T], least=none, unit=ones)
    if kind == "log1p":
        least = [_digits(LEAST * (1 + low) - 1) for low in low_C]
        return Transform(kind=kind, power=none, offset=ones, least=least, unit=ones)
    points = [sketch.points() for sketch in sketches]
    if kind == "box_cox":
        power = [_box_cox(*of) for of in points]
        return Transform(kind=kind, power=power, offset=none, least=[_digits(LEAST * v) for v in low_C], unit=ones)
    deviation = np.sqrt(moments.squares_F / np.maximum(moments.count_F, 1))
    unit = [_digits(value) if value > 0 else 1.0 for value in deviation]
    power = [_yeo_johnson(values_N / one, weight_N) for (values_N, weight_N), one in zip(points, unit, strict=True)]
    return Transform(kind=kind, power=power, offset=none, least=none, unit=unit)


def _require_domain(kind: Kind, name: str, low: float) -> None:
    needs = {"log": (low >= 0, "0 and above"), "log1p": (low > -1, "above -1"), "box_cox": (low > 0, "above 0")}
    fits, words = needs.get(kind, (True, ""))
    if not fits:
        raise InputError(
            f"preprocess.transform is {kind}, but target '{name}' holds {low:g} in the training part; "
            f"{'logarithms need' if kind == 'log' else 'it needs'} values {'of ' if kind == 'log' else ''}{words}: use "
            "transform: none, or yeo_johnson, or shift the column"
        )


def _offset(size_S: NDArray) -> float:
    """OFFSET of the size of a typical series: the geometric mean, over series, of their means. That of the column would
    drown small series beside large ones."""
    sizes = np.sort(size_S[size_S > 0])
    return _digits(OFFSET * float(np.exp(np.log(sizes).mean()))) if len(sizes) else 1.0


def _box_cox(values_N: NDArray, weight_N: NDArray) -> float:
    """The power of greatest likelihood (Box & Cox 1964)."""
    return _likeliest("box_cox", np.log(values_N), np.ones_like(values_N), weight_N)


def _yeo_johnson(values_N: NDArray, weight_N: NDArray) -> float:
    """The power of greatest likelihood (Yeo & Johnson 2000)."""
    return _likeliest("yeo_johnson", np.log1p(np.abs(values_N)), np.sign(values_N), weight_N)


def _likeliest(kind: str, logarithm_N: NDArray, sign_N: NDArray, weight_N: NDArray) -> float:
    """The power, rounded; 1, no power at all, where the values do not vary."""
    count = float(weight_N.sum())
    if not count or logarithm_N.max() == logarithm_N.min():
        return 1.0
    signed = float(weight_N @ (sign_N * logarithm_N)) / count

    def unlikelihood(power: float) -> float:
        own_N = np.where(sign_N >= 0, power, 2 - power) if kind == "yeo_johnson" else np.full_like(sign_N, power)
        some_N = np.where(own_N == 0, 1, own_N)
        found_N = sign_N * np.where(own_N == 0, logarithm_N, np.expm1(some_N * logarithm_N) / some_N)
        mean = float(weight_N @ found_N) / count
        return 0.5 * float(np.log(weight_N @ (found_N - mean) ** 2 / count)) - (power - 1) * signed

    found = minimize_scalar(unlikelihood, bounds=POWERS, method="bounded", options={"xatol": TOLERANCE})
    return round(float(found.x), 4)


def _digits(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
