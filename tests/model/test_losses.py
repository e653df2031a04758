"""Losses as sums and counts, told value by value."""

from __future__ import annotations

import pytest
import torch

from lstm_ray.data.windows import IGNORED
from lstm_ray.model.losses import class_loss, forecast_loss

QUANTILES = torch.tensor([0.1, 0.5, 0.9])


def drawn(num_quantiles: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    forecast = torch.randn(2, 3, 4, 2, num_quantiles, generator=draw)
    actual, weight = torch.randn(2, 3, 4, 2, generator=draw), torch.rand(2, 3, 4, 2, generator=draw) > 0.3
    return forecast, actual, weight.float()


@pytest.mark.parametrize("name", ["mae", "mse", "pinball"])
def test_forecast_losses_are_sums_over_what_was_measured(name: str) -> None:
    q = QUANTILES if name == "pinball" else torch.tensor([0.5])
    forecast, actual, weight = drawn(len(q))
    total = 0.0
    for at in (weight > 0).nonzero().tolist():
        y, guesses = float(actual[tuple(at)]), forecast[tuple(at)].tolist()
        if name == "pinball":
            pairs = zip(q.tolist(), guesses, strict=True)
            total += 2 / 3 * sum(level * (y - g) if y > g else (1 - level) * (g - y) for level, g in pairs)
        else:
            total += abs(y - guesses[0]) if name == "mae" else (y - guesses[0]) ** 2
    found = forecast_loss(name, forecast, actual, weight, q)
    assert found.tolist() == pytest.approx([total, float(weight.sum())], rel=1e-4)


def test_pinball_of_the_median_alone_is_the_absolute_error() -> None:
    forecast, actual, weight = drawn(1)
    q = torch.tensor([0.5])
    pinball, mae = (forecast_loss(name, forecast, actual, weight, q) for name in ("pinball", "mae"))
    torch.testing.assert_close(pinball, mae)


def test_what_was_not_measured_teaches_nothing() -> None:
    forecast, actual, weight = drawn(1)
    forecast.requires_grad_()
    forecast_loss("mae", forecast, actual, weight, torch.tensor([0.5]))[0].backward()
    assert forecast.grad is not None
    assert torch.equal(forecast.grad[..., 0] != 0, weight > 0)


def test_a_loss_that_fits_no_forecast_is_refused() -> None:
    with pytest.raises(ValueError, match="'cross_entropy' does not fit a forecast"):
        forecast_loss("cross_entropy", *drawn(1), torch.tensor([0.5]))


def test_ignored_sequences_do_not_count() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [5.0, -5.0]], requires_grad=True)
    total, count = class_loss(logits, torch.tensor([0, 1, IGNORED]))
    expected = torch.log(1 + torch.exp(torch.tensor([-2.0, -1.0]))).sum()
    assert total.item() == pytest.approx(expected.item(), rel=1e-5)
    assert count == 2
    total.backward()
    assert logits.grad is not None
    assert not logits.grad[2].any()
