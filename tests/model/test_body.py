"""The LSTM layers start as the config says and read what they may."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lstm_ray.model.body import Body, Dropout
from tests import made


def body_of(classify: bool = False, **values: Any) -> Body:
    config = made.classify_config(**values) if classify else made.make_config(**values)
    torch.manual_seed(0)
    return Body(5, config).eval()


@pytest.mark.parametrize("forget", [1.0, -2.0])
def test_the_forget_gate_starts_where_asked_and_the_recurrence_orthogonal(forget: float) -> None:
    layer: Any = body_of(model__forget_bias=forget).layers[0]
    bias = layer.bias_ih_l0 + layer.bias_hh_l0
    assert bias.tolist() == [0.0] * 8 + [forget] * 8 + [0.0] * 16
    for gate in layer.weight_hh_l0.split(8):
        torch.testing.assert_close(gate @ gate.T, torch.eye(8), rtol=0, atol=1e-5)


def test_a_uniform_recurrence_stays_within_one_over_the_root_of_the_width() -> None:
    weight = body_of(model__recurrent_init="uniform", model__hidden=64).layers[0].weight_hh_l0.detach()
    assert 0.12 < weight.abs().max() <= 1 / 8
    assert float(weight.std()) == pytest.approx(0.125 / 3**0.5, rel=0.05)


def test_a_layer_norm_evens_out_what_each_layer_adds() -> None:
    inputs = torch.randn(6, 3, 5)
    states, _ = body_of(model__layer_norm=True)(inputs)
    torch.testing.assert_close(states.mean(-1), torch.zeros(6, 3), rtol=0, atol=1e-5)
    assert (states.std(-1, correction=0) > 0.9).all()
    deep = body_of(model__layer_norm=True, model__layers=3, model__residual=True)
    with torch.no_grad():
        for norm in deep.norms[1:]:
            norm.weight.zero_()
        one = body_of(model__layer_norm=True)
        one.layers[0].load_state_dict(deep.layers[0].state_dict())
        torch.testing.assert_close(deep(inputs)[0], one(inputs)[0])


def test_dropout_falls_between_layers_and_on_outputs() -> None:
    body = body_of(model__dropout=0.5, model__layers=2).train()
    seen = []
    body.layers[1].register_forward_hook(lambda layer, given, answer: seen.append(given[0]))
    states, _ = body(torch.randn(20, 10, 5))
    for dropped in (seen[0], states):
        assert 0.4 < (dropped == 0).float().mean() < 0.6


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_dropout_drops_its_share_evenly_and_keeps_the_mean(share: float) -> None:
    torch.manual_seed(0)
    dropout, values = Dropout(share), torch.ones(201, 7, 31)
    first, second = dropout(values), dropout(values)
    assert float((first == 0).float().mean()) == pytest.approx(share, abs=0.01)
    torch.testing.assert_close(first.unique(), torch.tensor([0, 1 / (1 - share)]))
    both = ((first == 0) & (second == 0)).float().mean()
    assert float(both) == pytest.approx(share**2, abs=0.01), "one mask says nothing about the next"
    # Four values share a random number: neighbours must not share their fate, nor any lane its own.
    flat = (first == 0).flatten().float()[: 4 * 10_000].view(-1, 4)
    torch.testing.assert_close(flat.mean(0), torch.full((4,), share), rtol=0, atol=0.02)
    assert float(torch.corrcoef(flat.T).triu(1).abs().max()) < 0.05
    torch.manual_seed(0)
    assert torch.equal(dropout(values), first)
    assert torch.equal(dropout.eval()(values), values)


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("residual", [False, True])
def test_patches_before_the_first_that_answers_are_read_all_the_same(residual: bool, attention: bool) -> None:
    body, inputs = body_of(model__layers=2, model__residual=residual, model__attention=attention), torch.randn(7, 2, 5)
    torch.testing.assert_close(body(inputs, first=3)[0], body(inputs)[0][3:])


@pytest.mark.parametrize("layers", [1, 3])
def test_the_state_left_behind_is_where_the_next_call_goes_on(layers: int) -> None:
    body, inputs = body_of(model__layers=layers, model__residual=True), torch.randn(7, 2, 5)
    whole, end = body(inputs)
    first, state = body(inputs[:4])
    second, last = body(inputs[4:], state=state)
    assert state.shape == (2, layers, 2, 8)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(last, end)
    # A pair of hidden state and cell does as well.
    torch.testing.assert_close(body(inputs[4:], state=tuple(state))[0], second)


def test_only_a_bidirectional_body_reads_backwards() -> None:
    inputs, inside_BN = torch.randn(3, 1, 5), torch.ones(1, 3)
    changed = inputs.clone()
    changed[-1] += 5
    for both, same in ((False, True), (True, False)):
        body = body_of(True, model__bidirectional=both, model__attention=True)
        with torch.inference_mode():
            first, second = (body(part, inside_BN)[0][0] for part in (inputs, changed))
        assert torch.allclose(first, second) == same
