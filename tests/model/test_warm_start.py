from __future__ import annotations

import pytest
import torch

from lstm_ray.data.windows import cut_windows
from lstm_ray.model.network import build
from lstm_ray.model.training import losses, start
from lstm_ray.model.warm_start import warm_start
from tests import made

SEGMENTS = made.segments_of()
ORIGINS = torch.arange(60, 100).numpy()


def network_of(seed=7, **values):
    return build(made.make_config(**values).model_copy(update={"seed": seed}), SEGMENTS.schema)


def batch_of(config):
    return cut_windows(SEGMENTS.scaled(made.scaler_of(SEGMENTS)), ORIGINS, config.window)


def answer(network, **values):
    batch = batch_of(made.make_config(**values))
    inputs = (batch.target_BTC, batch.observed_BTC, batch.past_BTP, batch.known_BTK)
    with torch.inference_mode():
        return network.eval()(*map(torch.from_numpy, inputs))


def test_the_same_shapes_are_filled_whole():
    trained, fresh = network_of(seed=1), network_of(seed=2)
    assert not torch.equal(answer(trained), answer(fresh))
    assert warm_start(fresh, trained.state_dict()) == 1.0
    assert torch.equal(answer(trained), answer(fresh))


@pytest.mark.parametrize(
    "added",
    [
        {"model__layers": 3, "model__residual": True},
        {"model__attention": True},
        {"model__layers": 2, "model__residual": True, "model__attention": True},
    ],
)
def test_new_residual_layers_and_attention_change_nothing_at_first_and_learn_at_the_first_step(added):
    trained, grown = network_of(seed=1), network_of(**added)
    share = warm_start(grown, trained.state_dict())
    filled, total = (sum(value.numel() for value in n.state_dict().values()) for n in (trained, grown))
    assert share == pytest.approx(filled / total)
    assert 0 < share < 1
    torch.testing.assert_close(answer(grown, **added), answer(trained), rtol=1e-6, atol=1e-6)
    config = made.make_config(**added)
    training = start(grown.train(), config)
    sums = losses(grown, grown, batch_of(config), config)
    (sums[0] / sums[1]).backward()
    training.optimiser.step()
    assert not torch.allclose(answer(grown, **added), answer(trained), rtol=1e-3)
    new = {name for name, _ in grown.named_parameters()} - {name for name, _ in trained.named_parameters()}
    for part in {".".join(name.split(".")[:3]) for name in new if "attention" not in name}:
        moved = [grown.get_parameter(name).grad.abs().max() for name in new if name.startswith(part)]
        assert max(moved) > 0, f"{part} gets no gradient, so it would never learn"


def test_a_new_layer_without_a_residual_path_is_not_silenced():
    """It replaces what it reads: silent, it would leave the head nothing to see."""
    grown = network_of(model__layers=2)
    assert 0 < warm_start(grown, network_of(seed=1).state_dict()) < 1
    assert grown.body.layers[1].weight_ih_l0.abs().min() > 0


def test_attention_that_was_trained_keeps_its_weights():
    trained, fresh = network_of(seed=1, model__attention=True), network_of(model__attention=True)
    assert warm_start(fresh, trained.state_dict()) == 1.0
    assert fresh.body.attention.out_proj.weight.abs().max() > 0


def test_another_width_starts_from_scratch_with_nothing_copied():
    wide = network_of(model__hidden=12)
    before = {name: value.clone() for name, value in wide.state_dict().items()}
    assert warm_start(wide, network_of(seed=1).state_dict()) == 0.0
    assert all(torch.equal(value, before[name]) for name, value in wide.state_dict().items())


def test_a_bidirectional_layer_is_silenced_both_ways():
    segments = made.sequences_of([8, 12, 10, 9])
    config = made.classify_config(model__bidirectional=True, window__history=12)
    trained = build(config, segments.schema)
    added = made.classify_config(model__bidirectional=True, window__history=12, model__layers=2, model__residual=True)
    grown = build(added.model_copy(update={"seed": 3}), segments.schema)
    assert 0 < warm_start(grown, trained.state_dict()) < 1
    past, known = torch.randn(4, 12, 1), torch.zeros(4, 12, segments.schema.num_known)
    with torch.inference_mode():
        ours, theirs = (network.eval()(past, known, torch.ones(4, 3)) for network in (grown, trained))
    torch.testing.assert_close(ours, theirs)
