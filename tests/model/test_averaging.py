"""The moving average of weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lstm_ray.model.averaging import WeightAverage


def network_of(value: float) -> nn.Linear:
    network = nn.Linear(2, 1)
    put(network, value)
    return network


def put(network: nn.Linear, value: float) -> None:
    with torch.no_grad():
        for weight in network.parameters():
            weight.fill_(value)


def test_the_average_follows_its_definition_and_forgets_the_first_weights_fast() -> None:
    network = network_of(100.0)
    average, expected = WeightAverage(network, 0.9), 100.0
    for step in range(1, 200):
        put(network, float(step % 5))
        average.update()
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * (step % 5)
        assert float(average.state()["bias"]) == pytest.approx(expected, rel=1e-4)
        if step == 20:
            # A plain average of decay 0.9 would still hold 12 % of the weights that the seed drew.
            assert expected < 5
    assert torch.equal(average.state()["weight"], average.state()["bias"].expand(1, 2))


def test_the_network_holds_the_average_for_a_while_and_then_its_own_weights_again() -> None:
    network = network_of(1.0)
    average = WeightAverage(network, 0.5)
    put(network, 3.0)
    average.update()
    mean = float(average.state()["bias"])
    assert 1 < mean < 3

    def look() -> None:
        with average.in_place():
            assert float(network.bias.detach()) == mean
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        look()
    assert float(network.bias.detach()) == 3.0
    assert float(average.state()["bias"]) == mean


def test_a_restored_average_goes_on_as_if_it_never_stopped() -> None:
    network = network_of(1.0)
    whole = WeightAverage(network, 0.9)
    put(network, 2.0)
    whole.update()
    other = network_of(7.0)
    resumed = WeightAverage(other, 0.9)
    resumed.restore({name: value.clone() for name, value in whole.state().items()}, whole.steps)
    for each, average in ((network, whole), (other, resumed)):
        put(each, 5.0)
        average.update()
    assert all(torch.equal(whole.state()[name], value) for name, value in resumed.state().items())
