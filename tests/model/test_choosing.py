"""What validation decides: the plain mean, unless something is clearly better; and nothing else is touched by asking."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from lstm_ray.data.feed import all_batches, source
from lstm_ray.data.windows import Batch
from lstm_ray.model import kernels
from lstm_ray.model.choosing import MARGIN, SHARPNESS, TEMPERATURES, Choice, Scores, apply, choices, score
from lstm_ray.model.ensemble import Ensemble
from lstm_ray.model.highway import SHARES
from lstm_ray.model.inputs import MIN_SCALE
from lstm_ray.model.network import Forecaster, build, single
from lstm_ray.model.objective import Objective
from lstm_ray.model.training import validate
from tests import made
from tests.model.test_training import AUTO, DAY_PARTS, noisy_days, sine, trained

LINEAR = {"model__linear": "average"}


def asked(
    values: dict[str, Any], off: dict[int, float] | float = 0.0, plain_off: float = 0.0
) -> tuple[Objective, list[Batch]]:
    """Networks where all is 0 in truth: how far off each one's own answer is, and how far its plain ridge."""
    config = made.make_config(**values)
    segments = replace(sine(), target_RC=np.zeros((480, 1), np.float32))
    network = build(config, segments.schema)
    for index, one in enumerate(single(network)):
        assert isinstance(one, Forecaster)
        for weight in one.parameters():
            torch.nn.init.zeros_(weight)
        # A flat stretch has the smallest scale there is, in which the head answers.
        scale = MIN_SCALE if one.normalisation == "mean_deviation" else 1.0
        torch.nn.init.constant_(one.head.bias, (off[index] if isinstance(off, dict) else off) / scale)
        if one.highway is not None:
            for name, value in one.highway.named_buffers():
                if name == "plain_AH":
                    value[0] = plain_off
    objective = Objective(config, network, network)
    return objective, list(all_batches(source(segments, made.PARTS, "validation", config), config))


def chosen(objective: Objective, batches: list[Batch]) -> tuple[Choice, float]:
    """What is chosen and applied, and the loss that it has then."""
    found = score(objective, batches)
    best = found.best()
    apply(objective.network, best)
    sums = validate(objective, batches)
    torch.testing.assert_close(found.sums[best], sums)
    return best, float(sums[0] / sums[1])


@pytest.mark.parametrize(
    ("off", "plain_off", "share", "left"),
    [
        (1.0, -1.0, 0.5, 0.0),
        (2.5, 0.5, 0.5, 1.5),
        (0.0, 1.0, 0.0, 0.0),
        (-0.5, -1.0, 0.0, 0.5),
        (1.0, 1.0, 0.5, 1.0),
        # With the plain ridge it is 2 % worse, or 4 %: the first may be luck.
        (1.0, 1.04, 0.5, 1.02),
        (1.0, 1.08, 0.0, 1.0),
    ],
)
def test_the_plain_ridge_is_heard_unless_the_answer_is_clearly_better_without(
    off: float, plain_off: float, share: float, left: float
) -> None:
    objective, batches = asked(LINEAR, off, plain_off)
    best, loss = chosen(objective, batches)
    assert (best.share, best.weight_E) == (share, (1.0,))
    assert loss == pytest.approx(left, abs=1e-6)
    network = objective.network
    assert isinstance(network, Forecaster)
    assert network.highway is not None
    for other in SHARES:
        network.highway.share.fill_(other)
        sums = validate(objective, batches)
        assert float(sums[0] / sums[1]) >= loss / (1 + MARGIN) - 1e-6


THIRDS, EQUAL = (1 / 3, 1 / 3, 1 / 6, 1 / 6), (0.25, 0.25, 0.25, 0.25)
"""Own answer of the first kind, its plain ridge and the second kind count alike; or the kinds, without the ridge."""
FIRST, SECOND = (0.5, 0.5, 0.0, 0.0), (0.0, 0.0, 0.5, 0.5)


@pytest.mark.parametrize(
    ("off", "plain_off", "share", "weights", "left"),
    [
        ({0: 1.0, 1: 1.0, 2: -1.0, 3: -1.0}, 0.0, 0.5, THIRDS, 0.0),
        ({0: 1.0, 1: 1.0, 2: -1.0, 3: -1.0}, 9.0, 0.0, EQUAL, 0.0),
        ({0: 0.0, 1: 0.2, 2: 3.0, 3: 3.0}, 0.0, 0.5, FIRST, 0.05),
        ({0: 0.0, 1: 0.2, 2: 3.0, 3: 3.0}, 9.0, 0.0, FIRST, 0.1),
        ({0: 3.0, 1: 3.0, 2: 0.0, 3: -0.2}, 0.0, 0.5, SECOND, 0.1),
        # One member of a kind is never left out: that would be luck.
        ({0: 0.0, 1: 4.0, 2: 2.0, 3: 3.0}, 0.0, 0.5, FIRST, 1.0),
        # One kind alone would be 2 % better, or 4 %.
        ({0: 2.06, 1: 2.06, 2: 1.0, 3: 1.0}, 0.0, 0.5, THIRDS, 1.02),
        ({0: 2.12, 1: 2.12, 2: 1.0, 3: 1.0}, 0.0, 0.5, SECOND, 1.0),
    ],
)
def test_all_forecasters_answer_alike_unless_some_are_clearly_better(
    off: dict[int, float], plain_off: float, share: float, weights: tuple[float, ...], left: float
) -> None:
    objective, batches = asked(AUTO | {"model__members": 2}, off, plain_off)
    best, loss = chosen(objective, batches)
    assert best.share == share
    assert best.weight_E == pytest.approx(weights)
    assert loss == pytest.approx(left, abs=1e-6)
    network = objective.network
    assert isinstance(network, Ensemble)
    assert network.weight_E.tolist() == pytest.approx(weights)


@pytest.mark.parametrize("first", [-1.0, 1.0])
@pytest.mark.parametrize(("ahead", "margin", "left"), [(0.02, 0.03, 0), (0.04, 0.03, 1), (0.001, 0.0, 1)])
def test_the_margin_is_a_share_of_a_loss_of_either_sign(first: float, ahead: float, margin: float, left: int) -> None:
    one, other = Choice(0.5, (1.0,)), Choice(0.0, (1.0,))
    sums = {one: torch.tensor([first, 1, 0, 1]), other: torch.tensor([first - ahead, 1, 0, 1])}
    assert Scores(sums, [one, other], [], margin).best() == [one, other][left]


def test_of_those_that_come_close_the_one_to_be_preferred_is_taken() -> None:
    offered = [Choice(0.0, (float(index),)) for index in range(4)]
    sums = {one: torch.tensor([loss, 1, 0, 1]) for one, loss in zip(offered, (2.0, 1.02, 1.0, 1.01), strict=True)}
    assert Scores(sums, offered, [], MARGIN).best() == offered[1]


@pytest.mark.parametrize("values", [{}, {"model__members": 2}, {"model__linear": "trained"}], ids=str)
def test_without_kinds_or_shares_there_is_one_way_to_answer(values: dict[str, Any]) -> None:
    objective, batches = asked(values, 2.0)
    members = values.get("model__members", 1)
    assert choices(objective.network, "forecast") == [Choice(0.0, (1 / members,) * members)]
    assert chosen(objective, batches)[1] == 2.0


def test_the_choices_are_all_kinds_or_one_alone_with_and_without_plain_ridges() -> None:
    network = build(made.make_config(**AUTO, model__members=2), made.schema_of())
    found = choices(network, "forecast")
    # The first is the one to be preferred. The second kind has no ridge, so alone it is asked once.
    assert [one.share for one in found] == [0.5, 0.5, 0.5, 0.0, 0.0]
    for one, weights in zip(found, (THIRDS, FIRST, SECOND, EQUAL, FIRST), strict=True):
        assert one.weight_E == pytest.approx(weights)


def test_scoring_leaves_the_answer_as_it_was_and_tells_each_member_without_its_plain_ridge() -> None:
    off = {0: 1.0, 1: 2.0, 2: -3.0, 3: 4.0}
    objective, batches = asked(AUTO | {"model__members": 2}, off, 0.5)
    network = objective.network
    assert isinstance(network, Ensemble)
    apply(network, Choice(0.25, (0.1, 0.2, 0.3, 0.4)))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = score(objective, batches)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert found.member_losses == pytest.approx([1.0, 2.0, 3.0, 4.0])
    assert [found.metric(one) for one in found.alone] == pytest.approx([1.0, 2.0, 3.0, 4.0])


def test_what_workers_scored_adds_up() -> None:
    objective, batches = asked(AUTO, {0: 1.0, 1: -2.0})
    whole = score(objective, batches)
    shares = [score(objective, batches[rank::2]).sums for rank in range(2)]
    order = iter(shares[1].values())
    found = score(objective, batches[::2], lambda sums: sums + torch.stack(list(order)))
    assert found.sums.keys() == whole.sums.keys()
    for one, sums in whole.sums.items():
        torch.testing.assert_close(found.sums[one], sums)


@pytest.fixture(scope="module")
def classifiers() -> tuple[Objective, list[Batch]]:
    """Two networks and a ridge that were trained, and the validation part."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "FEATURES", 100)
        values = {"model__members": 2, "train__max_epochs": 4, "train__learning_rate": 0.05}
        config, segments = made.classify_config(**LINEAR, **values), noisy_days()
        scaled = segments.scaled(made.scaler_of(segments))
        network = trained(config, scaled, DAY_PARTS).network
    return Objective(config, network, network), list(
        all_batches(source(scaled, DAY_PARTS, "validation", config), config)
    )


def test_kinds_of_classifiers_are_heard_at_the_temperatures_with_the_least_cross_entropy(
    classifiers: tuple[Objective, list[Batch]],
) -> None:
    objective, batches = classifiers
    network = objective.network
    assert isinstance(network, Ensemble)
    assert network.kind_E == (0, 0, 1)
    with torch.inference_mode():
        lessons = [objective.lesson(batch) for batch in batches]
        logits_EMK = torch.cat([objective.answer(lesson, each=range(3)) for lesson in lessons], 1).double()
    label_M = torch.cat([lesson.label_B for lesson in lessons])
    kinds = logits_EMK[:2].mean(0), logits_EMK[2]

    def cross_entropy(networks: float, ridge: float) -> float:
        return float(torch.nn.functional.cross_entropy(networks * kinds[0] + ridge * kinds[1], label_M))

    grid = [pair for pair in product(TEMPERATURES, SHARPNESS) if any(pair)]
    least = min(grid, key=lambda pair: cross_entropy(*pair))
    assert least[0] > 0, "networks are heard"
    assert 0 < least[1] < SHARPNESS[-1], "the ridge is heard"
    best, loss = chosen(objective, batches)
    assert best.weight_E == pytest.approx((least[0] / 2, least[0] / 2, least[1]))
    assert loss == pytest.approx(cross_entropy(*least), rel=1e-4)
    assert loss < cross_entropy(0.5, 0.5), "better than the plain mean"
    # The best weights of a training hold it already.
    assert network.weight_E.tolist() == pytest.approx(best.weight_E)
    offered = choices(network, "classify")
    assert offered[0].weight_E == pytest.approx((0.25, 0.25, 0.5))
    assert len(offered) == 1 + len(grid) == len(set(offered))
    assert not any(weight_E == (0.0, 0.0, 0.0) for weight_E in (one.weight_E for one in offered)), "someone answers"


def test_who_rests_does_not_change_how_classifiers_may_be_heard(classifiers: tuple[Objective, list[Batch]]) -> None:
    network = classifiers[0].network
    assert isinstance(network, Ensemble)
    before = choices(network, "classify")
    network.learners = [1]
    assert choices(network, "classify") == before
    network.learners = []
    assert choices(network, "classify") == before


def test_equal_classifiers_that_differ_in_luck_share_one_temperature() -> None:
    network = build(made.classify_config(model__members=3), made.sequences_of([12]).schema)
    found = [one.weight_E for one in choices(network, "classify")]
    assert all(len(set(weight_E)) == 1 for weight_E in found)
    expected = [1 / 3] + [scale / 3 for scale in TEMPERATURES if scale]
    assert [weight_E[0] for weight_E in found] == pytest.approx(expected)
