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


CASES = [*(("forecast", values) for values in FORECASTS), ("classify", {"model__members": 3})]


@pytest.mark.parametrize(("task", "values"), CASES, ids=str)
def test_in_training_every_member_answers_and_learns_as_if_it_were_alone(task: str, values: dict[str, Any]) -> None:
    config = config_of(task, values)
    network = ensemble(config)
    objective = Objective(config, network, network)
    inputs = objective.inputs(objective.lesson(lesson_batch(config)))
    answers = network(*inputs)
    assert len(answers) == len(network.members)
    for answer, member in zip(answers, network.members, strict=True):
        assert torch.equal(answer, member(*inputs))
    together, gradients = loss_of(network, config)
    alone = [loss_of(member, config) for member in network.members]
    assert together == pytest.approx(np.mean([loss for loss, _ in alone]), rel=1e-5)
    expected = [gradient / len(network.members) for _, of_member in alone for gradient in of_member]
    for found, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    # What validation has chosen is no matter of training.
    network.weight_E.copy_(torch.eye(len(network.members))[0])
    assert loss_of(network, config)[0] == pytest.approx(together, rel=1e-6)


@pytest.mark.parametrize(("task", "values"), CASES, ids=str)
def test_members_start_from_weights_of_their_own(task: str, values: dict[str, Any]) -> None:
    config = config_of(task, values)
    network = build(config, (DAYS if task == "classify" else SCALED).schema)
    assert isinstance(network, Ensemble)
    first, *others = [member.head.weight for member in network.members]
    assert all((other - first).abs().min() > 0 for other in others)
    again = build(config, (DAYS if task == "classify" else SCALED).schema)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize(("task", "values"), CASES, ids=str)
def test_in_use_the_answer_is_the_weighted_mean(task: str, values: dict[str, Any]) -> None:
    config = config_of(task, values)
    network = ensemble(config).eval()
    objective = Objective(config, network, network)
    inputs = objective.inputs(objective.lesson(lesson_batch(config)))
    number = len(network.members)
    uneven = torch.arange(1.0, number + 1)
    with torch.inference_mode():
        own_E = torch.stack([member(*inputs) for member in network.members])
        for weight_E in (torch.full((number,), 1 / number), uneven / uneven.sum()):
            if weight_E[0] == weight_E[1]:
                torch.testing.assert_close(network.weight_E, weight_E)
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


def test_the_choices_are_all_alike_or_one_kind_alone() -> None:
    members = [torch.nn.Identity() for _ in range(4)]
    assert [choice.tolist() for choice in Ensemble(members).choices()] == [[0.25] * 4]
    assert [choice.tolist() for choice in Ensemble(members, kinds=2).choices()] == [
        [0.25] * 4,
        [0.5, 0.5, 0.0, 0.0],
        [0.0, 0.0, 0.5, 0.5],
    ]


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
