from __future__ import annotations

import pytest
import torch

from lstm_ray.data.windows import cut_sequences, cut_windows
from lstm_ray.model.network import build
from lstm_ray.model.objective import Objective
from lstm_ray.model.training import start
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
    objective = Objective(config, grown, grown)
    objective.sums(objective.lesson(batch_of(config)))[0].backward()
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


def refused(grown, weights):
    before = {name: value.clone() for name, value in grown.state_dict().items()}
    assert warm_start(grown, weights) == 0.0
    assert all(torch.equal(value, before[name]) for name, value in grown.state_dict().items())


NORMED = {"model__layer_norm": True}


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"model__hidden": 12}, {}),
        ({"window__patch": 2}, {}),
        (NORMED, {"model__hidden": 12} | NORMED),
        ({}, {"model__hidden": 12} | NORMED),
        ({"model__attention": True}, {"model__hidden": 12, "model__attention": True}),
    ],
    ids=["narrower", "other inputs", "normalised", "newly normalised", "attended"],
)
def test_what_cannot_be_kept_starts_from_scratch_with_nothing_copied(given, wanted):
    refused(network_of(**wanted), network_of(seed=1, **given).state_dict())


WIDER = [
    ({}, {"model__hidden": 12}),
    ({"model__layers": 3}, {"model__layers": 3, "model__hidden": 13}),
    ({"model__layers": 2}, {"model__layers": 2, "model__hidden": 9, "model__attention": True}),
    (
        {"model__layers": 2, "model__residual": True},
        {"model__layers": 4, "model__residual": True, "model__hidden": 20},
    ),
]


@pytest.mark.parametrize("head", [{}, {"model__quantiles": [0.1, 0.5, 0.9]}, {"model__channels": "joint"}], ids=str)
@pytest.mark.parametrize(("given", "wanted"), WIDER, ids=str)
def test_a_wider_network_answers_the_same_and_its_new_units_learn(given, wanted, head):
    trained, grown = network_of(seed=1, **given, **head), network_of(**wanted, **head)
    for weight in trained.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    share = warm_start(grown, trained.state_dict())
    kept, total = (sum(value.numel() for value in n.state_dict().values()) for n in (trained, grown))
    assert share == pytest.approx(kept / total)
    torch.testing.assert_close(answer(grown), answer(trained), rtol=1e-5, atol=1e-5)
    hidden = made.make_config(**given).model.hidden
    learns(grown, made.make_config(**wanted, **head), lambda: grown.head.weight[:, hidden:], answer)


def learns(grown, config, new_weights, ask):
    """After two steps the new units are heard, and what they read has moved as well."""
    grown.train()
    before, reads = ask(grown).clone(), grown.body.layers[0].weight_ih_l0[-1].clone()
    assert not new_weights().any()
    training = start(grown.train(), config)
    objective = Objective(config, grown, grown)
    for _ in range(2):
        training.optimiser.zero_grad()
        objective.sums(objective.lesson(lesson_batch(config)))[0].backward()
        training.optimiser.step()
    assert new_weights().any()
    assert not torch.equal(grown.body.layers[0].weight_ih_l0[-1], reads)
    assert not torch.allclose(ask(grown), before, rtol=1e-3)


def lesson_batch(config):
    if config.task == "forecast":
        return batch_of(config)
    segments = made.sequences_of([8, 12, 10, 9])
    return cut_sequences(segments.scaled(made.scaler_of(segments)), torch.arange(4).numpy(), 12, config.window.patch)


@pytest.mark.parametrize("pooling", ["mean", "attention"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_wider_classifier_answers_the_same_whichever_way_it_reads(layers, bidirectional, pooling):
    values = {"model__layers": layers, "model__bidirectional": bidirectional, "model__pooling": pooling}
    small, large = (made.classify_config(window__history=12, **values, model__hidden=width) for width in (8, 11))
    schema = made.sequences_of([8]).schema
    trained, grown = build(small.model_copy(update={"seed": 3}), schema), build(large, schema)
    assert 0 < warm_start(grown, trained.state_dict()) < 1
    batch = lesson_batch(large)

    def ask(network):
        with torch.inference_mode():
            return network.eval()(*map(torch.from_numpy, (batch.past_BTP, batch.known_BTK, batch.origin_BN)))

    torch.testing.assert_close(ask(grown), ask(trained), rtol=1e-5, atol=1e-5)
    learns(grown, large, lambda: grown.head.weight[:, 8:11], ask)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_a_new_residual_layer_is_silent_with_and_without_a_norm(layer_norm):
    values = {"model__residual": True, "model__layer_norm": layer_norm}
    trained, grown = network_of(seed=1, **values), network_of(model__layers=3, **values)
    assert 0 < warm_start(grown, trained.state_dict()) < 1
    torch.testing.assert_close(answer(grown), answer(trained), rtol=1e-6, atol=1e-6)
    # Its first step is a small one: a norm must not blow up what it barely says.
    objective = Objective(made.make_config(), grown.train(), grown)
    objective.sums(objective.lesson(batch_of(made.make_config())))[0].backward()
    new = [weight for name, weight in grown.named_parameters() if name.startswith(("body.layers.1", "body.norms.1"))]
    torch.optim.Adam(new, lr=1e-3).step()
    assert 1e-5 < (answer(grown) - answer(trained)).abs().max() < 0.05


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
