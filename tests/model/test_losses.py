"""Losses, told value by value."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch

from lstm_ray.data.windows import IGNORED
from lstm_ray.errors import InputError
from lstm_ray.model.losses import class_loss, forecast_loss, own_loss, require_usable
from tests import made

OWN = """
import torch
def cubed(forecast_BNHC, actual_BNHC): return (forecast_BNHC - actual_BNHC).abs() ** 3
def margin(logits_BK, label_B): return (1 - logits_BK.gather(1, label_B[:, None])[:, 0]).relu()
def averaged(forecast, actual): return (forecast - actual).abs().mean()
def breaks(forecast, actual): return forecast.no_such_thing
def blind(forecast, actual): return torch.zeros_like(actual)
def words(forecast, actual): return "much"
number = 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of the user's with losses in it."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "losses.py").write_text(OWN)
    (tmp_path / "mine" / "broken.py").write_text("import no_such_package")
    monkeypatch.syspath_prepend(str(tmp_path))
    own_loss.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "mine"]:
        monkeypatch.delitem(sys.modules, name)


def drawn(num_quantiles: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, 4, 2, num_quantiles, generator=draw), 2 * torch.randn(2, 3, 4, 2, generator=draw)


def by_hand(name: str, y: float, guesses: list[float]) -> float:
    error = y - guesses[0]
    if name == "pinball":
        pairs = zip([0.1, 0.5, 0.9], guesses, strict=True)
        return 2 / 3 * sum(q * (y - g) if y > g else (1 - q) * (g - y) for q, g in pairs)
    if name == "huber":
        return error**2 / 2 if abs(error) < 0.7 else 0.7 * (abs(error) - 0.35)
    return abs(error) if name == "mae" else error**2


@pytest.mark.parametrize("name", ["mae", "mse", "huber", "pinball"])
def test_forecast_losses_are_those_of_their_definition(name: str) -> None:
    values = {"model__quantiles": [0.1, 0.5, 0.9]} if name == "pinball" else {"train__loss": name}
    config = made.make_config(train__huber_delta=0.7, **values)
    quantiles = config.model.quantiles or [0.5]
    forecast, actual = drawn(len(quantiles))
    found = forecast_loss(config, forecast, actual, quantiles)
    assert found.shape == actual.shape
    for at in torch.ones_like(actual).nonzero().tolist():
        expected = by_hand(name, float(actual[tuple(at)]), forecast[tuple(at)].tolist())
        assert float(found[tuple(at)]) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_pinball_of_the_median_alone_is_the_absolute_error() -> None:
    forecast, actual = drawn(1)
    configs = made.make_config(model__quantiles=[0.5]), made.make_config()
    pinball, mae = (forecast_loss(config, forecast, actual, [0.5]) for config in configs)
    torch.testing.assert_close(pinball, mae)


LOGITS = torch.tensor([[2.0, 0.0], [0.0, 1.0], [5.0, -5.0]])


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_focal_discounts_what_is_already_right(gamma: float) -> None:
    config = made.classify_config(train__loss="focal", train__focal_gamma=gamma)
    found = class_loss(config, LOGITS, torch.tensor([0, 0, IGNORED])).tolist()
    for loss, advantage in zip(found[:2], [2.0, -1.0], strict=True):
        p = 1 / (1 + math.exp(-advantage))
        assert loss == pytest.approx(-((1 - p) ** gamma) * math.log(p), rel=1e-5)
    assert found[2] == 0


def test_focal_without_discount_is_cross_entropy_and_both_have_gradients_where_all_is_right() -> None:
    sure = torch.tensor([[60.0, -60.0]], requires_grad=True)
    label = torch.tensor([0])
    for loss in ("focal", "cross_entropy"):
        (gradient,) = torch.autograd.grad(class_loss(made.classify_config(train__loss=loss), sure, label).sum(), sure)
        assert torch.isfinite(gradient).all()


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("loss", ["cross_entropy", "focal", "mine.losses:margin"])
def test_ignored_sequences_lose_nothing(loss: str) -> None:
    logits = LOGITS.clone().requires_grad_()
    found = class_loss(made.classify_config(train__loss=loss), logits, torch.tensor([1, 0, IGNORED]))
    found.sum().backward()
    assert logits.grad is not None
    assert found[:2].detach().min() > 0
    assert found[2] == 0
    assert logits.grad[:2].any(1).all()
    assert not logits.grad[2].any()


@pytest.mark.usefixtures("own")
def test_a_loss_of_the_user_s_is_taken_as_it_is() -> None:
    config = made.make_config(train__loss="mine.losses:cubed")
    require_usable(config)
    forecast, actual = drawn(1)
    torch.testing.assert_close(forecast_loss(config, forecast, actual, [0.5]), (forecast[..., 0] - actual).abs() ** 3)
    require_usable(made.classify_config(train__loss="mine.losses:margin"))
    require_usable(made.make_config())


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("loss", "words"),
    [
        ("nowhere.at.all:f", r"'nowhere.at.all' cannot be imported: ModuleNotFoundError.*PYTHONPATH"),
        ("mine.broken:f", r"'mine.broken' cannot be imported: .*no_such_package"),
        ("mine.losses:cubbed", r"has no function 'cubbed', found None"),
        ("mine.losses:number", r"has no function 'number', found 3"),
        ("mine.losses:averaged", r"returns \(\) for a truth of \(2, 3, 4, 1\).* neither summed nor averaged"),
        ("mine.losses:words", r"returns str for a truth"),
        ("mine.losses:breaks", r"raises AttributeError: .*no_such_thing.* on tensors of \(2, 3, 4, 1\)"),
        ("mine.losses:blind", r"returns a loss without a gradient"),
    ],
)
def test_a_loss_of_the_user_s_that_cannot_be_used_is_refused_with_the_reason(loss: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as refused:
        require_usable(made.make_config(train__loss=loss))
    assert loss in str(refused.value)


def test_a_loss_that_fits_no_task_is_no_loss() -> None:
    with pytest.raises(ValueError, match="'cross_entropy' does not fit a forecast"):
        forecast_loss(made.classify_config(), *drawn(1), [0.5])
    with pytest.raises(ValueError, match="'mae' does not fit a class"):
        class_loss(made.make_config(), LOGITS, torch.tensor([0, 1, 0]))
