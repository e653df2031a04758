"""Quantiles never cross, bounds are kept in the target's own units, and gradients live at the start of a training."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lstm_ray.model.heads import EDGE, Level, ascending, bounded, parameters

BOUNDS = {"relu": (0.0, None), "softplus": (0.0, None), "sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}
MEAN, DEVIATION = 0.4, 0.25


def level_at(own: torch.Tensor | float, mean: float = MEAN, deviation: float = DEVIATION) -> Level:
    level = (torch.as_tensor(own, dtype=torch.float32).reshape(-1, 1) - mean) / deviation
    return Level(level, None, torch.tensor([-mean / deviation]), torch.tensor([1 / deviation]))


@given(st.lists(st.floats(-1e3, 1e3), min_size=5, max_size=5), st.integers(0, 4), st.floats(0.1, 5))
def test_quantiles_never_cross_and_the_median_is_the_level_and_its_raw_output(
    raw: list[float], median: int, scale: float
) -> None:
    at = Level(torch.tensor([2.0]), torch.tensor([scale]), torch.zeros(1), torch.ones(1))
    found = ascending(torch.tensor(raw)[:, None], median, at)[:, 0]
    assert (found.diff() >= 0).all()
    assert found[median] == torch.tensor(raw)[median] * scale + 2


@given(
    st.lists(st.floats(-50, 50), min_size=3, max_size=3),
    st.floats(-3, 3),
    st.sampled_from(sorted(BOUNDS)),
)
def test_bounded_quantiles_stay_in_order_and_within_bounds(raw: list[float], own: float, output: str) -> None:
    found = ascending(torch.tensor(raw)[:, None], 1, level_at(own), output)[..., 0].flatten() * DEVIATION + MEAN
    low, high = BOUNDS[output]
    assert (found.diff() >= -1e-5).all()
    assert found.min() >= low - 1e-5
    assert high is None or found.max() <= high + 1e-5


@pytest.mark.parametrize("output", sorted(BOUNDS))
@pytest.mark.parametrize("own", [0.2, 0.4, 0.6])
def test_a_bound_leaves_the_level_alone_and_bends_gently_about_it(output: str, own: float) -> None:
    at = level_at(own)
    away = torch.zeros(1, 1, requires_grad=True)
    found = bounded(away, at, output)
    torch.testing.assert_close(found, at.level, rtol=1e-4, atol=1e-4)
    found.sum().backward()
    assert away.grad is not None
    assert 0.4 < float(away.grad) < 1.3


@pytest.mark.parametrize("output", sorted(BOUNDS))
@pytest.mark.parametrize("own", [-3.0, -1.0, 0.0, 1.0, 3.0])
def test_gradients_live_even_where_the_level_lies_at_a_bound_or_beyond(output: str, own: float) -> None:
    away = torch.tensor([[-0.5], [0.0], [0.5]], requires_grad=True)
    (-bounded(away, level_at(own), output)).sum().backward()  # towards higher values
    assert away.grad is not None
    assert (away.grad.abs() > 1e-3).all()
    assert torch.isfinite(away.grad).all()


def test_a_forecast_cut_by_relu_can_come_back() -> None:
    away = torch.tensor([-9.0], requires_grad=True)
    (2.0 - bounded(away, level_at(0.4), "relu")).abs().sum().backward()
    assert away.grad is not None
    assert float(away.grad) == -1


def test_a_forecast_cut_by_relu_is_pushed_no_further() -> None:
    """Where the truth is 0 a forecast of 0 is right; were it pushed on, nothing would ever bring it back."""
    away = torch.tensor([-9.0, 0.5], requires_grad=True)
    bounded(away, level_at(0.4), "relu").sum().backward()
    assert away.grad is not None
    assert away.grad.tolist() == [0.0, 1.0]


def test_values_near_a_bound_that_hardly_vary_keep_their_slope() -> None:
    """A share of 0.97 +- 0.01: seen from the middle of 0 to 1, one deviation would be lost."""
    at = level_at(0.97, mean=0.97, deviation=0.01)
    step = bounded(torch.tensor([0.5]), at, "sigmoid") - bounded(torch.tensor([0.0]), at, "sigmoid")
    assert 0.3 < float(step) < 0.7
    assert 1 - EDGE > 0.97


@pytest.mark.parametrize("name", ["gaussian", "student_t", "negative_binomial"])
def test_parameters_lie_where_they_must_whatever_the_outputs(name: str) -> None:
    raw = torch.tensor([-80.0, -1.0, 0.0, 1.0, 80.0]).repeat(3 if name == "student_t" else 2, 1)
    at = level_at(2.0)
    at = at._replace(level=at.level[0], scale=torch.tensor([0.5]))
    found = parameters(name, raw, at)
    assert found.shape == raw.shape
    assert torch.isfinite(found).all()
    assert (found[1] > 0).all()
    if name == "student_t":
        assert (found[2] > 2).all()
    if name == "negative_binomial":
        assert (found[0] > 0).all()
        assert found[0, 2] == pytest.approx(2.0, rel=1e-3), "the level itself, in counts"
    else:
        torch.testing.assert_close(found[0], raw[0] * 0.5 + at.level)
