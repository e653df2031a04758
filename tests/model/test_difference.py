"""Changes instead of values: added up exactly, told from the past alone, and learned better where a level only wanders.

Shapes as in ``network.py``: B sequences, T steps, N origins, H horizon, C targets, Q quantiles.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from lstm_ray.config import Config
from lstm_ray.data.windows import Segments
from lstm_ray.model.closed_forms import Whole, closed_forms, typical_changes
from lstm_ray.model.difference import Difference
from lstm_ray.model.network import Forecaster, Inputs, build
from lstm_ray.model.trial import brings_closed_forms
from lstm_ray.model.warm_start import warm_start
from tests import made
from tests.model.causality import assert_looks_back_alone
from tests.model.test_training import trained

SCHEMA = made.schema_of(target=["load", "heat"], known=["price"])
L, H, P, N = 12, 6, 4, 4
T = L + (N - 1) * P + H
STEPS = [1, 4, 7]
"""Below and above the patch, and beyond the horizon."""
OPTIONS: list[dict[str, Any]] = [
    {"model__normalisation": "none"},
    {"model__normalisation": "last"},
    {"model__normalisation": "mean_deviation", "model__channels": "joint"},
    {"model__normalisation": "mean_deviation", "model__linear": "average", "model__quantiles": [0.1, 0.5, 0.9]},
    {"model__normalisation": "mean", "model__linear": "residual", "model__attention": True},
    {"model__normalisation": "auto", "model__linear": "average"},
    {"model__output": "softplus", "model__quantiles": [0.1, 0.5, 0.9]},
]


def shaken(config: Config) -> torch.nn.Module:
    """A network all of whose parts speak."""
    network = build(config, SCHEMA).eval()
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, weight in network.state_dict().items():
            if weight.is_floating_point() and "weight_E" not in name:
                weight += 0.1 * torch.randn(weight.shape, generator=draw).abs()
    return network


def random_inputs() -> Inputs:
    draw = torch.Generator().manual_seed(0)
    sizes = (2, 2, 1, SCHEMA.num_known)
    target, observed, past, known = (torch.randn(2, T, size, generator=draw) for size in sizes)
    return Inputs(target.cumsum(1) / 3, (observed > -1).float(), past, known)


@pytest.mark.parametrize("steps", [1, 2, 6, 7, 11])
def test_true_changes_add_up_to_the_true_values(steps: int) -> None:
    config = made.make_config(model__difference=steps)
    difference = Difference(config, 2)
    difference.change_C.copy_(torch.tensor([0.3, 5.0]))
    values_BTC = random_inputs().target_BTC
    change_BTC, there_BTC = difference(values_BTC, torch.ones_like(values_BTC))
    assert (change_BTC[:, :steps] == 0).all()
    assert (there_BTC[:, :steps] == 0).all()
    assert (there_BTC[:, steps:] == 1).all()
    ahead_NBCH = change_BTC[:, L : L + H].transpose(1, 2)[None]
    windows_NBCL = values_BTC[:, :L].transpose(1, 2)[None]
    found = difference.repeated(windows_NBCL) + difference.added_up(ahead_NBCH)
    torch.testing.assert_close(found[0].transpose(1, 2), values_BTC[:, L : L + H], rtol=0, atol=1e-5)


def test_a_change_from_a_step_that_was_not_measured_is_not_measured() -> None:
    difference = Difference(made.make_config(model__difference=2), 1)
    there = torch.ones(1, 8, 1)
    there[0, 4] = 0
    _, found = difference(torch.randn(1, 8, 1), there)
    assert found[0, :, 0].tolist() == [0, 0, 1, 1, 0, 1, 0, 1]


@pytest.mark.parametrize("values", OPTIONS, ids=str)
@pytest.mark.parametrize("steps", STEPS)
def test_the_future_changes_no_earlier_forecast(steps: int, values: dict[str, Any]) -> None:
    config = made.make_config(model__difference=steps, data__target=["load", "heat"], data__known=["price"], **values)
    network = shaken(config)
    assert_looks_back_alone(network, random_inputs(), config.window, len(config.model.quantiles) or 1)


@pytest.mark.parametrize("steps", STEPS)
def test_each_quantile_is_the_change_upon_what_it_forecast_before(steps: int) -> None:
    """A network whose changes are constant: forecasts rise by these, from the newest values on."""
    config = made.make_config(model__difference=steps, model__quantiles=[0.1, 0.5, 0.9])
    network = build(config, SCHEMA).eval()
    assert isinstance(network, Forecaster)
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
        network.head.bias.view(3, H).copy_(torch.tensor([0.0, 0.5, 0.0])[:, None].expand(3, H))
    inputs = random_inputs()
    with torch.inference_mode():
        found_BNHCQ = network(*inputs)
    half = float(torch.nn.functional.softplus(torch.zeros(())))
    for n in range(N):
        values = inputs.target_BTC[:, : L + n * P]
        for quantile, change in enumerate((0.5 - half, 0.5, 0.5 + half)):
            going = list(values.unbind(1))
            for h in range(H):
                going.append(going[-steps] + change)
                torch.testing.assert_close(found_BNHCQ[:, n, h, :, quantile], going[-1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("linear", ["residual", "average"])
def test_a_linear_map_beside_stays_one_of_values(linear: str) -> None:
    """Silent changes leave the linear map's forecasts."""
    values = {"model__linear": linear, "model__normalisation": "mean_deviation", "data__past": []}
    schema = made.schema_of(past=())
    found = []
    for steps in (None, 4):
        network = build(made.make_config(model__difference=steps, **values), schema).eval()
        draw = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for name, weight in network.named_parameters():
                if not name.startswith("highway"):
                    weight.zero_()
            for name, buffer in sorted(network.named_buffers()):
                if name.startswith("highway") and buffer.dim():
                    buffer.copy_(0.1 * torch.randn(buffer.shape, generator=draw))
        inputs = random_inputs()
        with torch.inference_mode():
            found.append(
                network(
                    inputs.target_BTC[..., :1],
                    inputs.observed_BTC[..., :1],
                    torch.zeros(2, T, 0),
                    inputs.known_BTK[..., 1:],
                )
            )
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("values", OPTIONS[:4], ids=str)
def test_parts_answer_as_the_whole_does(values: dict[str, Any]) -> None:
    """Truncated backpropagation reads a sequence so."""
    config = made.make_config(model__difference=4, **values)
    network = shaken(config)
    inputs = random_inputs()
    with torch.inference_mode():
        whole = network(*inputs)
        _, state = network(*inputs, part=(0, 2))
        first, state = network(*inputs, part=(2, 4), state=state)
        second, _ = network(*inputs, part=(4, 6), state=state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=1e-4, atol=1e-5)


def test_changes_are_read_in_units_of_the_training_parts_typical_one() -> None:
    segments = made.segments_of([240, 200], [0, 40])
    config = made.make_config(model__difference=3)
    found = typical_changes(config, Whole(segments), made.PARTS)
    squares = []
    for first, length in ((0, 240), (240, 200)):
        for row in range(first + L - 1, first + length):
            step = row - first + (40 if first else 0)
            if step + H < 140 and segments.observed_RC[row, 0] and segments.observed_RC[row - 3, 0]:
                squares.append((segments.target_RC[row, 0] - segments.target_RC[row - 3, 0]) ** 2)
    np.testing.assert_allclose(found, [np.sqrt(np.mean(squares))], rtol=1e-5)
    shares = [typical_changes(config, Whole(segments, rank, 2, lambda sums: sums), made.PARTS) for rank in range(2)]
    assert shares[0] != shares[1]
    total = [0.0]

    def add_up(sums: np.ndarray) -> np.ndarray:
        total[0] = total[0] + sums
        return total[0]

    typical_changes(config, Whole(segments, 0, 2, add_up), made.PARTS)
    np.testing.assert_allclose(typical_changes(config, Whole(segments, 1, 2, add_up), made.PARTS), found, rtol=1e-6)
    unseen = replace(segments, observed_RC=np.zeros_like(segments.observed_RC))
    assert typical_changes(config, Whole(unseen), made.PARTS) == [1.0]


def wandering() -> Segments:
    """Random walks that drift upwards, so that validation lies where training never was."""
    random = np.random.default_rng(0)
    walks = [np.cumsum(0.1 + random.normal(scale=0.2, size=240)) for _ in range(4)]
    values = np.concatenate(walks)[:, None]
    segments = made.segments_of([240] * 4, schema=made.schema_of(past=(), calendar=()))
    scaled = (values - values.mean()) / values.std()
    return replace(segments, target_RC=scaled.astype(np.float32), observed_RC=np.ones_like(scaled, np.float32))


def test_a_random_walk_with_drift_is_learned_better_by_its_changes() -> None:
    least = {}
    for steps in (None, 1):
        config = made.make_config(
            data__past=[],
            preprocess__calendar=[],
            model__normalisation="none",
            model__difference=steps,
            train__max_epochs=6,
        )
        least[steps] = trained(config, wandering()).best_loss
    assert least[1] < 0.75 * least[None]


def test_a_truncated_training_of_changes_comes_as_far() -> None:
    values = {"model__difference": 1, "train__max_epochs": 3, "data__past": [], "preprocess__calendar": []}
    whole, parts = (
        trained(made.make_config(train__truncate_steps=steps, **values), wandering()).best_loss for steps in (None, 8)
    )
    assert parts == pytest.approx(whole, rel=0.1)


def test_a_warm_start_brings_the_unit_of_changes_along() -> None:
    segments = wandering()
    config = made.make_config(data__past=[], preprocess__calendar=[], model__difference=1)
    base = build(config, segments.schema)
    base.difference.change_C.fill_(0.25)
    network = build(config, segments.schema)
    assert warm_start(network, base.state_dict()) == 1.0
    assert network.difference.change_C == 0.25
    assert brings_closed_forms(network, config, config)
    other = made.make_config(data__past=[], preprocess__calendar=[], model__difference=2)
    assert not brings_closed_forms(build(other, segments.schema), other, config)
    [solved] = closed_forms(other, segments, made.PARTS)
    assert list(solved) == ["difference.change_C"]
