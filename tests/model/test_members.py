"""Members of an ensemble learn as each would alone: the same steps, a patience and best weights of their own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lstm_ray.config import Config, with_values
from lstm_ray.data.feed import all_batches, class_weights, source
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.windows import Segments
from lstm_ray.model import kernels
from lstm_ray.model.checkpoint import fit_kept
from lstm_ray.model.closed_forms import closed_forms
from lstm_ray.model.ensemble import Ensemble
from lstm_ray.model.network import build, single
from lstm_ray.model.objective import Objective
from lstm_ray.model.training import EpochRecord, Training, fit, start, validate
from lstm_ray.model.views import members, solved_alone
from tests import made
from tests.model.test_training import AUTO, DAY_PARTS, RESTING, noisy_days

SEGMENTS = made.segments_of([240, 200])
WAVES, DAYS = SEGMENTS.scaled(made.scaler_of(SEGMENTS)), noisy_days().scaled(made.scaler_of(noisy_days()))
FORECAST: list[dict[str, Any]] = [
    {"train__learning_rate": 0.03},
    {"train__weight_averaging": 0.9, "train__learning_rate": 0.1},
    AUTO | {"model__quantiles": [0.1, 0.5, 0.9]},
    AUTO | {"train__weight_averaging": 0.9, "train__truncate_steps": 16},
    {"train__truncate_steps": 8, "train__accumulate": 2, "train__learning_rate": 0.02, "seed": 8},
    {"train__augment": {"jitter": 0.2, "mixup": 0.2}, "train__min_improvement": 0.01},
    {"train__optimiser": "sgd", "train__learning_rate": 0.1, "seed": 9},
]
CLASSIFY: list[dict[str, Any]] = [
    {"model__members": 3},
    {"model__linear": "average", "train__weight_averaging": 0.8, "train__class_weights": "balanced"},
]
CASES = [*(("forecast", values) for values in FORECAST), *(("classify", values) for values in CLASSIFY)]


def world(task: str, values: dict[str, Any]) -> tuple[Config, Segments, Boundaries]:
    given = RESTING | {"train__batch": 7, "train__max_epochs": 12} | values
    if task == "classify":
        return made.classify_config(**given), DAYS, DAY_PARTS
    return made.make_config(**given), WAVES, made.PARTS


@pytest.fixture(autouse=True)
def few_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "FEATURES", 100)


def begun(config: Config, segments: Segments, parts: Boundaries, weights: dict[str, Tensor] | None = None) -> Training:
    network = build(config, segments.schema)
    if weights is not None:
        network.load_state_dict(weights)
    class_weight_K, solved = class_weights(segments, parts, config), closed_forms(config, segments, parts)
    return start(network, config, class_weight_K=class_weight_K, solved=solved)


def run(
    training: Training, given: tuple[Config, Segments, Boundaries], on_epoch: Any = lambda record: True
) -> Training:
    config, segments, parts = given
    items, held_out = (source(segments, parts, part, config) for part in ("train", "validation"))
    fit_kept(training, config, items, held_out, None, on_epoch)
    return training


def of_member(weights: dict[str, Tensor], member: int) -> dict[str, Tensor]:
    start = f"members.{member}."
    return {name.removeprefix(start): value.clone() for name, value in weights.items() if name.startswith(start)}


def learning(network: nn.Module) -> list[int]:
    """Members that have something to learn."""
    return [e for e, one in enumerate(single(network)) if list(one.parameters())]


def alone(given: tuple[Config, Segments, Boundaries], member: int, weights: dict[str, Tensor]) -> Training:
    """One member's training without the others, from these weights."""
    config, segments, parts = given
    view = with_values(members(config)[member], {"model.members": 1})
    if config.task == "classify":
        assert not solved_alone(view)
    training = begun(view, segments, parts, weights)
    assert not isinstance(training.network, Ensemble)
    return run(training, (view, segments, parts))


@pytest.mark.parametrize(("task", "values"), CASES, ids=str)
def test_every_member_ends_with_the_weights_it_would_have_had_alone(task: str, values: dict[str, Any]) -> None:
    given = world(task, values)
    together = begun(*given)
    first = {name: value.clone() for name, value in together.network.state_dict().items()}
    run(together, given)
    learners, epochs = learning(together.network), []
    assert len(learners) >= 2
    for e in learners:
        own = alone(given, e, of_member(first, e))
        epochs.append(len(own.records))
        assert together.member_losses(e)[: epochs[-1]] == [record.member_losses[0] for record in own.records]
        for name, weight in of_member(dict(together.network.state_dict()), e).items():
            # What an answer is mixed of is chosen for all together.
            if not name.endswith("share"):
                assert torch.equal(weight, own.network.state_dict()[name]), (e, name)
    # Patience ends training where the last has stalled, and not all of them at once.
    assert len(together.records) == max(epochs) < 12
    assert min(epochs) < max(epochs)


@pytest.mark.parametrize(("task", "values"), CASES, ids=str)
def test_a_member_that_has_stalled_rests_at_its_best_weights_and_the_others_go_on(
    task: str, values: dict[str, Any]
) -> None:
    given = world(task, values)
    training, seen, learners = begun(*given), [], []

    def look(record: EpochRecord) -> bool:
        assert isinstance(training.network, Ensemble)
        learners.append(list(training.network.learners))
        average = training.average.state() if training.average is not None else {}
        seen.append(({k: v.clone() for k, v in training.network.state_dict().items()}, dict(training.best_weights)))
        for name, mean in average.items():
            seen[-1][0][f"average.{name}"] = mean.clone()
        return True

    run(training, given, look)
    able = learning(training.network)
    assert learners[0] == able
    assert len(learners[-1]) < len(able)
    for epoch in range(1, len(seen)):
        assert set(learners[epoch]) <= set(learners[epoch - 1]), "who rests does not wake up"
        for e in able:
            losses = training.member_losses(e)
            before, after = (of_member(weights, e) for weights, _ in seen[epoch - 1 : epoch + 1])
            best = of_member(seen[epoch][1], e)
            moved = {name for name in before if not torch.equal(before[name], after[name])}
            if e in learners[epoch]:
                assert moved >= {"head.weight", "head.bias"}
                continue
            for name, weight in training.network.members[e].named_parameters():  # type: ignore[union-attr, index]
                assert torch.equal(after[name], best[name])
                if training.average is not None:
                    assert torch.equal(seen[epoch][0][f"average.members.{e}.{name}"], best[name])
                assert not weight.requires_grad
            assert losses[epoch] == min(losses)


@pytest.mark.parametrize(("task", "values"), CASES, ids=str)
def test_the_kept_loss_is_that_of_the_weights_that_are_kept(task: str, values: dict[str, Any]) -> None:
    given = config, segments, parts = world(task, values)
    training, kept = begun(*given), []

    def look(record: EpochRecord) -> bool:
        kept.append((record.kept_loss, dict(training.best_weights)))
        return True

    run(training, given, look)
    assert training.best_loss == kept[-1][0]
    weights_K, held_out = class_weights(segments, parts, config), source(segments, parts, "validation", config)
    class_weight_K = None if weights_K is None else torch.from_numpy(weights_K)
    network = training.network
    assert all(torch.equal(network.state_dict()[name], value) for name, value in training.best_weights.items())
    for loss, weights in reversed(kept):
        network.load_state_dict(weights)
        sums = validate(Objective(config, network, network, class_weight_K), all_batches(held_out, config))
        assert float(sums[0] / sums[1]) == pytest.approx(loss, rel=1e-5)


def test_members_are_clipped_each_by_itself() -> None:
    """A member whose gradient explodes leaves the others' steps as they are."""
    values = {"train__clip_norm": 0.5, "train__max_epochs": 2, "train__learning_rate": 0.001, "train__patience": 5}
    given = world("forecast", values)

    def stepped(factor: float) -> tuple[dict[str, Tensor], list[EpochRecord]]:
        training = begun(*given)
        first, _ = training.network.members  # type: ignore[misc]
        for weight in first.parameters():
            weight.register_hook(lambda gradient: gradient * factor)
        run(training, given)
        return of_member(training.best_weights, 1), training.records

    (plain, calm), (beside, wild) = stepped(1.0), stepped(1e4)
    assert all(torch.equal(plain[name], value) for name, value in beside.items())
    assert wild[0].largest_gradient_norm > 100 * calm[0].largest_gradient_norm, "the record tells of the largest"
    assert wild[0].clipped_share == 1.0


def test_whoever_wraps_the_network_is_asked_again_whenever_a_member_comes_to_rest() -> None:
    given = config, segments, parts = world("forecast", FORECAST[0])
    training, wraps, learners = begun(*given), [], []
    items, held_out = (source(segments, parts, part, config) for part in ("train", "validation"))

    def wrap(network: nn.Module) -> nn.Module:
        wraps.append([name for name, weight in network.named_parameters() if weight.requires_grad])
        return network

    def look(record: EpochRecord) -> bool:
        assert isinstance(training.network, Ensemble)
        learners.append(list(training.network.learners))
        return True

    batches = [list(items_of) for items_of in (all_batches(items, config), all_batches(held_out, config))]
    fit(training, config, lambda epoch: batches[0], lambda: batches[1], len(batches[0]), wrap=wrap, on_epoch=look)
    distinct = [one for index, one in enumerate(learners) if index == 0 or one != learners[index - 1]]
    assert len(distinct) == len(wraps) == 2
    for own, names in zip(distinct, wraps, strict=True):
        assert {int(name.split(".")[1]) for name in names} == set(own)
