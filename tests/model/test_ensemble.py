"""Members learn as if each were alone, and answer together by their weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lstm_ray.config import Config
from lstm_ray.data.feed import source
from lstm_ray.data.windows import Batch
from lstm_ray.model.ensemble import Ensemble
from lstm_ray.model.network import build
from lstm_ray.model.objective import Objective
from tests import made
from tests.model.test_highway import stirred
from tests.model.test_network import random_inputs
from tests.model.test_objective import DAY_PARTS, DAYS, SCALED
from tests.model.test_training import sine, trained

AUTO: dict[str, Any] = {"model__normalisation": "auto", "model__linear": "average"}
FORECASTS: list[dict[str, Any]] = [
    {"model__members": 3},
    AUTO,
    AUTO | {"model__members": 2, "model__quantiles": [0.1, 0.5, 0.9]},
    AUTO | {"model__distribution": "student_t"},
]


def config_of(task: str, values: dict[str, Any]) -> Config:
    return made.classify_config(**values) if task == "classify" else made.make_config(**values)


def lesson_batch(config: Config) -> Batch:
    if config.task == "classify":
        return source(DAYS, DAY_PARTS, "train", config).cut(np.arange(7))
    return source(SCALED, made.PARTS, "train", config).cut(np.arange(7))


def ensemble(config: Config) -> Ensemble:
    schema = (DAYS if config.task == "classify" else SCALED).schema
    network = build(config, schema) if config.task == "classify" else stirred(config, schema).train()
    assert isinstance(network, Ensemble)
    return network


def loss_of(network: torch.nn.Module, config: Config) -> tuple[float, list[torch.Tensor]]:
    """A batch's loss, and its gradients by the network's parameters."""
    objective = Objective(config, network, network)
    network.zero_grad()
    total = 0.0
    for loss in objective.losses(objective.lesson(lesson_batch(config))):
        loss.backward()
        total += float(loss.detach())
    gradients = [torch.zeros_like(w) if w.grad is None else w.grad.clone() for w in network.parameters()]
    return total, gradients


CLASSES: list[dict[str, Any]] = [{"model__members": 3}, {"model__members": 2, "model__linear": "average"}]
CASES = [*(("forecast", values) for values in FORECASTS), *(("classify", values) for values in CLASSES)]


@pytest.mark.parametrize(("task", "values"), CASES, ids=str)
def test_in_training_every_member_that_learns_answers_and_gets_the_gradient_it_would_get_alone(
    task: str, values: dict[str, Any]
) -> None:
    config = config_of(task, values)
    network = ensemble(config)
    objective = Objective(config, network, network)
    inputs = objective.inputs(objective.lesson(lesson_batch(config)))
    answers, learners = network(*inputs), [network.members[e] for e in network.learners]
    assert len(answers) == len(learners) >= 2
    for answer, member in zip(answers, learners, strict=True):
        assert torch.equal(answer, member(*inputs))
    together, gradients = loss_of(network, config)
    alone = [loss_of(member, config) for member in learners]
    assert together == pytest.approx(sum(loss for loss, _ in alone), rel=1e-5)
    expected = [gradient for _, of_member in alone for gradient in of_member]
    for found, wanted in zip(gradients, expected, strict=True):
        assert torch.equal(found, wanted)
    # What validation has chosen is no matter of training.
    network.weight_E.copy_(torch.eye(len(network.members))[0])
    assert loss_of(network, config)[0] == pytest.approx(together, rel=1e-6)


@pytest.mark.parametrize(("task", "values"), CASES, ids=str)
def test_members_start_from_weights_of_their_own(task: str, values: dict[str, Any]) -> None:
    config = config_of(task, values)
    network = build(config, (DAYS if task == "classify" else SCALED).schema)
    assert isinstance(network, Ensemble)
    first, *others = [network.members[e].head.weight for e in network.learners]
    assert all((other - first).abs().min() > 0 for other in others)
    again = build(config, (DAYS if task == "classify" else SCALED).schema)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize(("task", "values"), CASES, ids=str)
def test_in_use_the_answer_is_the_weighted_sum(task: str, values: dict[str, Any]) -> None:
    config = config_of(task, values)
    network = ensemble(config).eval()
    objective = Objective(config, network, network)
    inputs = objective.inputs(objective.lesson(lesson_batch(config)))
    uneven = torch.arange(1.0, len(network.members) + 1)
    with torch.inference_mode():
        own_E = torch.stack([member(*inputs) for member in network.members])
        # First the mean of kinds; logits may be scaled, so weights need not add up to 1.
        for weight_E in (network.mean_of(range(network.kinds)), uneven / uneven.sum(), uneven):
            if weight_E is not uneven:
                assert float(weight_E.sum()) == pytest.approx(1)
            network.weight_E.copy_(weight_E)
            torch.testing.assert_close(network(*inputs), torch.tensordot(weight_E, own_E, 1), rtol=1e-4, atol=1e-5)


def test_quantiles_of_the_mean_stay_in_order() -> None:
    network = stirred(made.make_config(**FORECASTS[2])).eval()
    with torch.inference_mode():
        assert (network(*random_inputs()).diff(dim=-1) > 0).all()


def test_a_member_without_weight_is_not_run() -> None:
    network, runs = ensemble(made.make_config(model__members=3)), [0, 0, 0]

    def count(index: int) -> None:
        runs[index] += 1

    for index, member in enumerate(network.members):
        member.register_forward_pre_hook(lambda *_, index=index: count(index))
    network.weight_E.copy_(torch.tensor([0.25, 0.0, 0.75]))
    objective = Objective(made.make_config(), network, network)
    inputs = objective.inputs(objective.lesson(lesson_batch(made.make_config())))
    with torch.inference_mode():
        network.eval()(*inputs)
        assert runs == [1, 0, 1]
        network.train()(*inputs)
    assert runs == [2, 1, 2]


def test_kinds_weigh_alike_however_many_members_they_have() -> None:
    members = [torch.nn.Linear(1, 1) for _ in range(4)]
    plain, several = Ensemble(members), Ensemble(members, [0, 0, 0, 1])
    assert (plain.kinds, plain.weight_E.tolist()) == (1, [0.25] * 4)
    assert several.kinds == 2
    torch.testing.assert_close(several.weight_E, torch.tensor([1 / 6, 1 / 6, 1 / 6, 1 / 2]))
    torch.testing.assert_close(several.mean_of([0]), torch.tensor([1 / 3, 1 / 3, 1 / 3, 0]))
    assert several.mean_of([1]).tolist() == [0, 0, 0, 1]
    pairs = Ensemble(members, [0, 0, 1, 1])
    assert pairs.mean_of([1]).tolist() == [0, 0, 0.5, 0.5]
    # A kind may count for several; alone it answers in full.
    torch.testing.assert_close(pairs.mean_of([0, 1], [3, 1]), torch.tensor([3 / 8, 3 / 8, 1 / 8, 1 / 8]))
    assert pairs.mean_of([0], [3, 1]).tolist() == [0.5, 0.5, 0, 0]


@pytest.mark.parametrize(("task", "values"), CASES, ids=str)
def test_those_that_still_learn_answer_in_training_and_anyone_who_is_asked(task: str, values: dict[str, Any]) -> None:
    config = config_of(task, values)
    network = ensemble(config)
    learns = [bool(list(member.parameters())) for member in network.members]
    assert network.learners == [e for e, one in enumerate(learns) if one]
    inputs = Objective(config, network, network).inputs(
        Objective(config, network, network).lesson(lesson_batch(config))
    )
    own = [member(*inputs) for member in network.members]
    network.learners = [1]
    [answer] = network(*inputs)
    assert torch.equal(answer, own[1])
    for _ in (network.train(), network.eval()):
        own = [member(*inputs) for member in network.members]
        chosen = network(*inputs, each=[len(own) - 1, 0])
        assert len(chosen) == 2
        assert torch.equal(chosen[0], own[-1])
        assert torch.equal(chosen[1], own[0])


@pytest.mark.parametrize("steps", [None, 8], ids=str)
def test_a_member_at_rest_costs_nothing_and_gets_no_gradient(steps: int | None) -> None:
    config = made.make_config(model__members=3, train__truncate_steps=steps)
    network = ensemble(config)
    alone = loss_of(network.members[1], config)
    network.learners = [1]
    assert Objective(config, network, network).num_learners == 1
    loss, gradients = loss_of(network, config)
    assert loss == pytest.approx(alone[0], rel=1e-6)
    each = len(alone[1])
    for index, gradient in enumerate(gradients):
        expected = alone[1][index - each] if each <= index < 2 * each else torch.zeros_like(gradient)
        assert torch.equal(gradient, expected)


@pytest.mark.parametrize("values", FORECASTS, ids=str)
def test_a_sequence_learned_in_parts_costs_what_the_whole_does(values: dict[str, Any]) -> None:
    network = ensemble(made.make_config(**values))
    whole = loss_of(network, made.make_config(**values))
    beyond = loss_of(network, made.make_config(**values, train__truncate_steps=100))
    assert beyond[0] == pytest.approx(whole[0], rel=1e-5)
    for found, wanted in zip(beyond[1], whole[1], strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    for steps in (4, 8):
        parts = loss_of(network, made.make_config(**values, train__truncate_steps=steps))
        assert parts[0] == pytest.approx(whole[0], rel=1e-5)


def test_sequences_are_told_apart_by_several_classifiers() -> None:
    config = made.classify_config(model__members=3, train__max_epochs=10, window__history=12, train__learning_rate=0.02)
    segments = made.sequences_of([12, 9, 10, 12] * 8)
    parts: Any = {"train": (0, 24 * 16), "validation": (24 * 16, 24 * 24), "test": (24 * 24, 24 * 32)}
    training = trained(config, segments.scaled(made.scaler_of(segments)), parts)
    assert training.best_record.validation_metric == 1.0
    first, *others = [member.head.weight for member in training.network.members]  # type: ignore[union-attr]
    assert all(not torch.allclose(other, first) for other in others)


def test_a_wave_is_learned_by_two_kinds_together() -> None:
    """In parts, and with an average of weights."""
    values = {"train__max_epochs": 8, "train__learning_rate": 0.01, "train__weight_averaging": 0.9}
    training = trained(made.make_config(**AUTO, **values, train__truncate_steps=16), sine())
    assert training.best_record.validation_metric < 0.45
    assert training.records[-1].train_loss < training.records[0].train_loss
