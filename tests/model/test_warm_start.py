from __future__ import annotations

import pytest
import torch

from lstm_ray.data.windows import cut_sequences, cut_windows
from lstm_ray.model.network import KernelRidge, build
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


AUTO = {"model__normalisation": "auto", "model__linear": "average"}


def several(seed=7, **values):
    """An ensemble, and the config it answers to; its maps at random."""
    network = network_of(seed, **values)
    for one in network.members:
        if one.highway is not None:
            torch.nn.init.normal_(one.highway.ridge_AH, std=0.1)
            torch.nn.init.normal_(one.highway.correction.weight, std=0.1)
    return network


def answers(network):
    """Of every member."""
    return [answer(one) for one in network.members]


@pytest.mark.parametrize("values", [{"model__members": 3}, AUTO, AUTO | {"model__members": 2}], ids=str)
def test_every_member_starts_from_its_own_counterpart(values):
    trained, fresh = several(seed=1, **values), several(seed=2, **values)
    assert warm_start(fresh, trained.state_dict()) == 1.0
    for ours, theirs in zip(answers(fresh), answers(trained), strict=True):
        assert torch.equal(ours, theirs)
    torch.testing.assert_close(answer(fresh), answer(trained))


@pytest.mark.parametrize("values", [{"model__members": 3}, AUTO], ids=str)
def test_members_are_heard_as_validation_chose_for_those_they_start_from(values):
    trained, fresh = several(seed=1, **values), several(seed=2, **values)
    trained.weight_E.copy_(torch.linspace(0.0, 2.0, len(trained.weight_E)))
    warm_start(fresh, trained.state_dict())
    assert torch.equal(fresh.weight_E, trained.weight_E)
    torch.testing.assert_close(answer(fresh), answer(trained))


def test_counterparts_are_told_by_number_in_whatever_order_a_file_holds_them():
    values = {"model__members": 12, "model__hidden": 4}
    trained, fresh = several(seed=1, **values), several(seed=2, **values)
    weights = dict(sorted(trained.state_dict().items()))
    assert list(weights).index("members.10.head.bias") < list(weights).index("members.2.head.bias")
    assert warm_start(fresh, weights) == 1.0
    for ours, theirs in zip(answers(fresh), answers(trained), strict=True):
        assert torch.equal(ours, theirs)


def test_members_without_a_counterpart_start_from_the_first_again():
    trained, fresh = several(seed=1, model__members=2), several(seed=2, model__members=3)
    assert warm_start(fresh, trained.state_dict()) == 1.0
    first, second = answers(trained)
    for ours, theirs in zip(answers(fresh), (first, second, first), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("given", "wanted"), [(1, 2), (3, 2)])
def test_more_and_fewer_members_start_from_those_of_their_kind(given, wanted):
    trained, fresh = (several(seed=n, **AUTO, model__members=n) for n in (given, wanted))
    assert warm_start(fresh, trained.state_dict()) == 1.0
    theirs = answers(trained)
    counterparts = [theirs[kind * given + place % given] for kind in range(2) for place in range(wanted)]
    for ours, counterpart in zip(answers(fresh), counterparts, strict=True):
        assert torch.equal(ours, counterpart)


def test_an_ensemble_starts_from_one_network():
    trained, fresh = network_of(seed=1), several(seed=2, model__members=3)
    assert warm_start(fresh, trained.state_dict()) == 1.0
    assert all(torch.equal(ours, answer(trained)) for ours in answers(fresh))
    assert torch.equal(fresh.weight_E, torch.full((3,), 1 / 3))


def test_one_network_starts_from_the_first_of_an_ensemble():
    trained, fresh = several(seed=1, model__members=2), network_of(seed=2)
    assert warm_start(fresh, trained.state_dict()) == 1.0
    assert torch.equal(answer(fresh), answers(trained)[0])


def test_kinds_of_other_shapes_are_filled_as_far_as_they_fit():
    """The plain network has no map of the whole history, one kind of two has."""
    trained, fresh = network_of(seed=1), several(seed=2, **AUTO)
    torch.nn.init.normal_(trained.newest.weight, std=0.1)
    before = fresh.members[0].highway.ridge_AH.clone()
    first, second = (sum(v.numel() for v in one.state_dict().values()) for one in fresh.members)
    shared = first - sum(v.numel() for v in fresh.members[0].highway.state_dict().values())
    assert warm_start(fresh, trained.state_dict()) == pytest.approx((shared / first + second / second) / 2)
    assert torch.equal(fresh.members[0].highway.ridge_AH, before)
    assert all(torch.equal(one.head.weight, trained.head.weight) for one in fresh.members)
    assert torch.equal(fresh.members[1].newest.weight, trained.newest.weight)
    # And back: the map is left behind, what was not there stays.
    alone = network_of(seed=3)
    assert warm_start(alone, fresh.state_dict()) == 1.0
    assert torch.equal(alone.head.weight, trained.head.weight)


@pytest.mark.parametrize("hidden", [8, 12])
def test_wider_members_answer_the_same_maps_included(hidden):
    trained, grown = several(seed=1, **AUTO), several(seed=2, **AUTO, model__hidden=hidden)
    trained.members[0].highway.share.fill_(0.0)
    assert 0 < warm_start(grown, trained.state_dict()) <= 1
    for ours, theirs in zip(answers(grown), answers(trained), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_classifiers_start_from_classifiers():
    schema = made.sequences_of([8]).schema
    config = made.classify_config(window__history=12, model__members=3)
    trained, fresh = build(config.model_copy(update={"seed": 1}), schema), build(config, schema)
    assert warm_start(fresh, trained.state_dict()) == 1.0
    for ours, theirs in zip(fresh.parameters(), trained.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def ridged(seed=1, **values):
    """Classifiers and a ridge beside them that is solved, in numbers at random."""
    segments = made.sequences_of([8])
    config = made.classify_config(**{"window__history": 12, "model__members": 2, "model__linear": "average"} | values)
    network = build(config.model_copy(update={"seed": seed}), segments.schema).eval()
    draw = torch.Generator().manual_seed(seed)
    for one in network.modules():
        if isinstance(one, KernelRidge):
            torch.nn.init.normal_(one.ridge_AK, std=0.1, generator=draw)
            torch.nn.init.normal_(one.threshold_VJW, generator=draw)
    return network


def class_answers(network):
    """Of every member of its kind: networks, ridges."""
    draw = torch.Generator().manual_seed(0)
    given = torch.randn(4, 12, 1, generator=draw), torch.randn(4, 12, 2, generator=draw), torch.ones(4, 3)
    with torch.inference_mode():
        found = [(isinstance(one, KernelRidge), one(*given)) for one in getattr(network, "members", [network])]
    return [answer for solved, answer in found if not solved], [answer for solved, answer in found if solved]


def test_the_ridge_beside_classifiers_is_taken_over_kernels_and_thresholds_and_all():
    trained, fresh = ridged(seed=1, data__past=["load"]), ridged(seed=2)
    assert warm_start(fresh, trained.state_dict()) == 1.0
    for ours, theirs in zip(class_answers(fresh), class_answers(trained), strict=True):
        assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_more_and_wider_classifiers_start_from_those_there_were_and_the_ridge_from_the_ridge():
    trained, fresh = ridged(seed=1), ridged(seed=2, model__members=3)
    assert warm_start(fresh, trained.state_dict()) == 1.0
    (first, second), (ridge,) = class_answers(trained)
    networks, ridges = class_answers(fresh)
    for ours, theirs in zip(networks, (first, second, first), strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(ridges[0], ridge)
    grown = ridged(seed=2, model__hidden=12)
    assert 0 < warm_start(grown, trained.state_dict()) < 1
    networks, ridges = class_answers(grown)
    torch.testing.assert_close(networks, [first, second], rtol=1e-5, atol=1e-5)
    assert torch.equal(ridges[0], ridge)


def test_a_ridge_of_other_kernels_is_left_behind_and_counts_for_nothing():
    trained, fresh = ridged(seed=1), ridged(seed=2, window__history=40)
    before = class_answers(fresh)[1][0]
    assert warm_start(fresh, trained.state_dict()) == pytest.approx(2 / 3)
    assert torch.equal(class_answers(fresh)[1][0], before)
    assert torch.equal(class_answers(fresh)[0][0], class_answers(trained)[0][0])


def test_classifiers_start_from_those_that_had_no_ridge_beside_them_and_the_other_way_round():
    plain, several = ridged(seed=1, model__linear="none"), ridged(seed=2)
    ridge = class_answers(several)[1][0]
    assert warm_start(several, plain.state_dict()) == pytest.approx(2 / 3)
    assert torch.equal(class_answers(several)[1][0], ridge)
    torch.testing.assert_close(class_answers(several)[0], class_answers(plain)[0])
    back = ridged(seed=3, model__linear="none", model__members=1)
    assert warm_start(back, several.state_dict()) == 1.0
    torch.testing.assert_close(class_answers(back)[0][0], class_answers(plain)[0][0])


def test_a_labeller_grows_as_a_forecaster_does():
    segments = made.labelled_of()
    one = {"model__members": 1}
    trained = build(made.label_config(**one).model_copy(update={"seed": 1}), segments.schema)
    with torch.no_grad():
        trained.newest.weight.normal_(0, 0.1)
    inputs = [torch.randn(2, 12, 1), torch.ones(2, 12, 1), torch.randn(2, 12, 2), torch.ones(2, 12)]
    with torch.inference_mode():
        expected = trained.eval()(*inputs)
        for added in ({"model__layers": 2, "model__residual": True}, {"model__attention": True}, {"model__hidden": 12}):
            grown = build(made.label_config(**one, **added), segments.schema).eval()
            assert warm_start(grown, trained.state_dict()) > 0
            torch.testing.assert_close(grown(*inputs), expected, rtol=1e-5, atol=1e-6)


LONGER = {"window__history": 24}
LEVELS = [
    {"model__normalisation": "last"},
    {"model__normalisation": "none"},
    {"model__normalisation": "mean", "model__normalisation_steps": 8},
    {"model__normalisation": "mean_deviation", "model__normalisation_steps": 8},
]


def mapped(seed, linear, **values):
    """A network of random weights, its maps of the history included."""
    network = network_of(seed, model__linear=linear, **values)
    torch.manual_seed(seed)
    for name, value in network.state_dict().items():
        if name.startswith("highway.") and value.ndim == 2:
            torch.nn.init.normal_(value, std=0.3)
    return network.eval()


def along(network, batch, steps):
    """Answers at all origins of one long sequence, [B, N, H, C, Q]."""
    inputs = (batch.target_BTC[:, :steps], batch.observed_BTC[:, :steps], batch.past_BTP[:, :steps])
    with torch.inference_mode():
        return network(*map(torch.from_numpy, (*inputs, batch.known_BTK[:, :steps])))


def sequence():
    """One sequence of 60 seen steps and a horizon of 6, all of it measured now and then."""
    config = made.make_config(window__history=60)
    return cut_windows(SEGMENTS.scaled(made.scaler_of(SEGMENTS)), ORIGINS[:3], config.window)


@pytest.mark.parametrize("wider", [{}, {"model__hidden": 12}], ids=["as wide", "wider"])
@pytest.mark.parametrize("linear", ["none", "trained", "residual", "average"])
@pytest.mark.parametrize("level", LEVELS, ids=str)
def test_a_longer_history_answers_the_same_within_a_sequence(level, linear, wider):
    trained, grown = mapped(1, linear, **level), mapped(2, linear, **level, **LONGER, **wider)
    share = warm_start(grown, trained.state_dict())
    kept, total = (sum(value.numel() for value in n.state_dict().values()) for n in (trained, grown))
    assert share == pytest.approx(kept / total)
    whole = along(trained, sequence(), 66)
    assert whole.shape[1] == (60 - 12) // 4 + 1
    # The longer history's first origin lies three patches on.
    torch.testing.assert_close(along(grown, sequence(), 66), whole[:, 3:], rtol=1e-5, atol=1e-5)


def test_a_longer_history_is_a_mere_warm_start_where_the_level_or_the_window_reaches_further():
    trained, grown = mapped(1, "trained"), mapped(2, "trained", **LONGER)
    assert 0 < warm_start(grown, trained.state_dict()) < 1
    assert made.make_config().model.normalisation == "mean"
    assert not torch.allclose(along(grown, sequence(), 66), along(trained, sequence(), 66)[:, 3:], atol=1e-3)
    last = {"model__normalisation": "last"}
    trained, grown = mapped(1, "none", **last), mapped(2, "none", **last, **LONGER)
    warm_start(grown, trained.state_dict())
    alone, longer = answer(trained, **last), answer(grown, **last, **LONGER)
    assert not torch.allclose(longer, alone, atol=1e-6), "the LSTM has read twice as far back"


def test_a_shorter_history_keeps_the_newest_steps_of_the_maps():
    trained, cut = mapped(1, "average", **LONGER), mapped(2, "average")
    assert warm_start(cut, trained.state_dict()) == 1.0
    ours, theirs = cut.highway, trained.highway
    assert torch.equal(ours.correction.weight, theirs.correction.weight[:, -12:])
    for name in ("ridge_AH", "plain_AH"):
        assert torch.equal(getattr(ours, name)[0], getattr(theirs, name)[0])
        assert torch.equal(getattr(ours, name)[1:], getattr(theirs, name)[-12:])
    assert torch.equal(cut.head.weight, trained.head.weight)
