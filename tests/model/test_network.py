"""The network looks back alone, its forecasts hear the newest input, and parts answer as the whole.

Shapes as in ``network.py``: B sequences, T steps, N origins, H horizon, C targets, Q quantiles.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lstm_ray.data.schema import ColumnScale, Scaler
from lstm_ray.data.windows import cut_windows, plan_sequences
from lstm_ray.model import distributions
from lstm_ray.model.network import Forecaster, Inputs, build
from tests import made
from tests.model.causality import assert_looks_back_alone

SCHEMA = made.schema_of(target=["load", "heat"], known=["price"])
L, H, P, N = 12, 6, 4, 4
T = L + (N - 1) * P + H
NORMALISATIONS = ["none", "last", "mean", "mean_deviation"]
BODIES: list[dict[str, Any]] = [
    {},
    {"model__layers": 2},
    {"model__layers": 2, "model__residual": True},
    {"model__attention": True},
    {"model__layer_norm": True},
    {"model__layers": 2, "model__residual": True, "model__attention": True, "model__layer_norm": True},
]
HEADS: list[dict[str, Any]] = [
    {"model__quantiles": []},
    {"model__quantiles": [0.1, 0.5, 0.9]},
    {"model__quantiles": [0.1, 0.5, 0.9], "model__output": "softplus"},
    {"model__quantiles": [], "model__distribution": "student_t"},
    {"model__quantiles": [], "model__distribution": "negative_binomial"},
]
WORDS = ["north", "south", "east"]


def forecaster(**values: Any) -> Forecaster:
    config = made.make_config(**({"model__quantiles": [0.1, 0.5, 0.9]} | values))
    network = build(config, SCHEMA).eval()
    assert isinstance(network, Forecaster)
    # A trained network reads its newest patch; a fresh one does not yet.
    torch.nn.init.normal_(network.newest.weight, std=0.1, generator=torch.Generator().manual_seed(1))
    return network


def in_units_of(network: Forecaster, mean: float, deviation: float) -> Forecaster:
    scale = ColumnScale(mean=[mean, mean + 1], deviation=[deviation, deviation])
    network.set_units(Scaler(target=scale, past=scale, known=scale))
    return network


def random_inputs(batch: int = 2, steps: int = T) -> Inputs:
    draw = torch.Generator().manual_seed(0)
    sizes = (2, 2, 1, SCHEMA.num_known)
    target, observed, past, known = (torch.randn(batch, steps, size, generator=draw) for size in sizes)
    return Inputs(target.cumsum(1) / 3, (observed > -1).float(), past, known)


@pytest.mark.parametrize("head", HEADS, ids=str)
@pytest.mark.parametrize("channels", ["shared", "joint"])
@pytest.mark.parametrize("body", BODIES, ids=str)
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_the_future_changes_no_earlier_forecast(
    normalisation: str, body: dict[str, Any], channels: str, head: dict[str, Any]
) -> None:
    network = forecaster(model__normalisation=normalisation, model__channels=channels, **body, **head)
    assert_looks_back_alone(network, random_inputs(), made.make_config().window, network.num_parameters)


@pytest.mark.parametrize("head", HEADS, ids=str)
@pytest.mark.parametrize("channels", ["shared", "joint"])
@pytest.mark.parametrize("body", [BODIES[0], BODIES[-1]], ids=str)
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_every_lead_hears_the_newest_step(
    normalisation: str, body: dict[str, Any], channels: str, head: dict[str, Any]
) -> None:
    network = forecaster(model__normalisation=normalisation, model__channels=channels, **body, **head)
    inputs = random_inputs(1)
    for part in inputs:
        part.requires_grad_()
    outputs_NHP = network(*inputs)[0, :, :, 0]
    for n in (0, N - 1):
        newest = L + n * P - 1
        for h in range(H):
            for output in outputs_NHP[n, h]:
                gradients = torch.autograd.grad(output, inputs, retain_graph=True)
                target, observed, past, known = (gradient[0].abs() for gradient in gradients)
                assert min(target[newest, 0], observed[newest, 0], past[newest, 0], known[newest].min()) > 0
                assert (target[newest, 1] > 0) == (channels == "joint")
                assert max(part[newest + 1 :].max() for part in (target, observed, past)) == 0
                # Of the known future, each lead hears its own step.
                heard = (known[newest + 1 :].amax(1) > 0).nonzero().ravel().tolist()
                assert heard == [h]


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("body", [body for body in BODIES if not body.get("model__attention")], ids=str)
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_parts_of_a_sequence_answer_as_the_whole_does(normalisation: str, body: dict[str, Any], length: int) -> None:
    network = forecaster(model__normalisation=normalisation, **body)
    inputs, num_patches = random_inputs(), (T - H) // P
    with torch.inference_mode():
        whole_BNHCQ, state, parts = network(*inputs), None, []
        for begin in range(0, num_patches, length):
            part_BNHCQ, state = network(*inputs, part=(begin, min(begin + length, num_patches)), state=state)
            parts.append(part_BNHCQ)
        assert len(parts) == -(-num_patches // length)
        torch.testing.assert_close(torch.cat(parts, 1), whole_BNHCQ, rtol=1e-5, atol=1e-5)
        forgotten, _ = network(*inputs, part=(num_patches - 1, num_patches))
    assert (forgotten[:, -1] - whole_BNHCQ[:, -1]).abs().max() > 1e-4


def test_a_detached_state_keeps_gradients_within_the_part() -> None:
    network, inputs = forecaster(), random_inputs()
    past_BTP = inputs.past_BTP.requires_grad_()
    _, state = network(*inputs, part=(0, 3))
    for kept, heard in ((state, True), (state.detach(), False)):
        answer, _ = network(*inputs, part=(3, 4), state=kept)
        (gradient,) = torch.autograd.grad(answer.sum(), past_BTP, retain_graph=True)
        assert bool(gradient[:, : 3 * P].any()) == heard


@pytest.mark.parametrize("body", BODIES, ids=str)
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_the_first_origin_of_a_sequence_answers_as_a_window_does(normalisation: str, body: dict[str, Any]) -> None:
    segments = made.segments_of(schema=SCHEMA)
    network = forecaster(model__normalisation=normalisation, model__normalisation_steps=8, **body)
    window = made.make_config().window
    sequence = plan_sequences(segments, made.PARTS, "train", window, 5)
    starts = sequence.start_M[::3]
    alone = cut_windows(segments, starts + L - 1, window)
    rows = starts[:, None] + np.arange(sequence.steps)
    together = [torch.from_numpy(part[np.minimum(rows, 239)]) for part in _columns(segments)]
    with torch.inference_mode():
        window_BHCQ = network(*(torch.from_numpy(part) for part in list(vars(alone).values())[:4]))[:, 0]
        sequence_BNHCQ = network(*together)
    assert sequence_BNHCQ.shape[1] == 5
    torch.testing.assert_close(sequence_BNHCQ[:, 0], window_BHCQ, rtol=1e-4, atol=1e-4)


def _columns(segments: Any) -> tuple[np.ndarray, ...]:
    return segments.target_RC, segments.observed_RC, segments.past_RP, segments.known_RK


def test_channels_share_their_weights() -> None:
    network, inputs = forecaster(), random_inputs()
    swapped = inputs._replace(target_BTC=inputs.target_BTC.flip(2), observed_BTC=inputs.observed_BTC.flip(2))
    with torch.inference_mode():
        torch.testing.assert_close(network(*swapped), network(*inputs).flip(3))


def test_joint_channels_hear_one_another() -> None:
    network, inputs = forecaster(model__channels="joint"), random_inputs()
    other = inputs.target_BTC.clone()
    other[:, :, 1] += 1
    with torch.inference_mode():
        moved = network(*inputs._replace(target_BTC=other)) - network(*inputs)
    assert moved[..., 0, :].abs().max() > 1e-3


@pytest.mark.parametrize("num_known", [1, 30])
def test_known_inputs_answer_alike_however_many_there_are(num_known: int) -> None:
    """Few are read as they are, many are projected first: the same bilinear map."""
    schema = made.schema_of(known=[f"k{index}" for index in range(num_known)], calendar=[])
    network: Any = build(made.make_config(), schema)
    raw, states = torch.randn(N, 2, 1, H), torch.randn(N, 2, 1, 8)
    known_BTK = torch.randn(2, (N - 1) * P + H, num_known)
    found = network._respond(raw, states, known_BTK)
    for n in range(N):
        at_BHR = network.known(known_BTK[:, n * P : n * P + H])
        expected = raw[n, :, 0] + (at_BHR * network.respond(states[n])).sum(-1)
        torch.testing.assert_close(found[n, :, 0], expected, rtol=1e-4, atol=1e-5)


def test_categories_move_forecasts_and_none_means_unseen() -> None:
    schema = SCHEMA.model_copy(update={"categories": {"region": WORDS, "kind": ["a"]}})
    network, inputs = build(made.make_config(), schema).eval(), random_inputs(3)
    with torch.inference_mode():
        unseen, told = network(*inputs), network(*inputs, torch.tensor([[0, 0], [2, 0], [0, 1]]))
    torch.testing.assert_close(told[0], unseen[0])
    assert (told[1:] - unseen[1:]).abs().amax((1, 2, 3, 4)).min() > 1e-4


@pytest.mark.parametrize(
    ("output", "low", "high"), [("relu", 0, 99), ("softplus", 0, 99), ("sigmoid", 0, 1), ("tanh", -1, 1)]
)
def test_forecasts_stay_within_their_bounds_in_the_targets_own_units(output: str, low: float, high: float) -> None:
    network = in_units_of(forecaster(model__output=output), mean=0.3, deviation=0.5)
    inputs = random_inputs()
    with torch.inference_mode():
        own_BNHCQ = (
            network(*inputs._replace(target_BTC=4 * inputs.target_BTC)) * 0.5 + torch.tensor([0.3, 1.3])[:, None]
        )
    assert own_BNHCQ.min() >= low - 1e-6
    assert own_BNHCQ.max() <= high + 1e-6
    assert (own_BNHCQ.diff(dim=-1) >= -1e-6).all()


@pytest.mark.parametrize("distribution", ["gaussian", "student_t", "negative_binomial"])
@pytest.mark.parametrize("quantiles", [[], [0.1, 0.5, 0.9]])
def test_a_distribution_forecasts_its_quantiles(distribution: str, quantiles: list[float]) -> None:
    network = forecaster(
        model__quantiles=quantiles, model__distribution=distribution, model__normalisation="mean_deviation"
    )
    in_units_of(network, mean=20.0, deviation=4.0)
    with torch.inference_mode():
        raw_BNHCP = network(*random_inputs())
        scaled_BNHCQ = network.forecast(raw_BNHCP)
    assert raw_BNHCP.shape == (2, N, H, 2, 3 if distribution == "student_t" else 2)
    assert scaled_BNHCQ.shape == (2, N, H, 2, len(quantiles) or 1)
    assert (scaled_BNHCQ.diff(dim=-1) > 0).all()
    if distribution == "negative_binomial":
        counts = scaled_BNHCQ * 4 + torch.tensor([20.0, 21.0])[:, None]
        torch.testing.assert_close(counts, counts.round(), rtol=0, atol=1e-3)
        assert counts.min() > -1e-3
    else:
        torch.testing.assert_close(scaled_BNHCQ[..., len(quantiles) // 2], raw_BNHCP[..., 0])


@pytest.mark.parametrize("distribution", ["gaussian", "student_t", "negative_binomial"])
def test_a_distribution_learns_from_scaled_values(distribution: str) -> None:
    network = in_units_of(forecaster(model__quantiles=[], model__distribution=distribution), mean=6.0, deviation=3.0)
    inputs = random_inputs()
    step = torch.optim.Adam(network.parameters(), lr=0.02)
    losses = []
    for _ in range(30):
        loss_BNHC = network.negative_log_likelihood(network(*inputs), network.futures(inputs.target_BTC))
        assert loss_BNHC.shape == (2, N, H, 2)
        step.zero_grad()
        loss_BNHC.mean().backward()
        step.step()
        losses.append(float(loss_BNHC.detach().mean()))
    assert all(weight.grad is not None and weight.grad.any() for weight in network.parameters())
    assert losses[-1] < losses[0] - 0.2


def test_counts_are_likely_in_their_own_units() -> None:
    network = in_units_of(forecaster(model__quantiles=[], model__distribution="negative_binomial"), 20.0, 4.0)
    raw, counts = torch.tensor([[12.0, 0.5]]).expand(1, 1, H, 2, 2), torch.arange(2.0 * H).reshape(1, 1, H, 2)
    scaled = (counts - torch.tensor([20.0, 21.0])) / 4
    expected = distributions.negative_log_likelihood("negative_binomial", raw, counts)
    torch.testing.assert_close(network.negative_log_likelihood(raw, scaled), expected)


def test_futures_are_the_steps_after_each_origin() -> None:
    values_BTC = torch.arange(T, dtype=torch.float32).reshape(1, T, 1)
    found = forecaster().futures(values_BTC)[0, :, :, 0]
    assert found.tolist() == [[float(L + n * P + h) for h in range(H)] for n in range(N)]


@pytest.mark.parametrize("quantiles", [[], [0.5], [0.5, 0.9], [0.05, 0.1, 0.5]])
def test_every_forecast_has_its_quantiles_in_order(quantiles: list[float]) -> None:
    network = forecaster(model__quantiles=quantiles)
    with torch.inference_mode():
        found_BNHCQ = network(*random_inputs())
    assert found_BNHCQ.shape[-1] == max(1, len(quantiles))
    assert (found_BNHCQ.diff(dim=-1) > 0).all()


def test_dropout_is_silent_outside_training() -> None:
    network, inputs = forecaster(model__dropout=0.5), random_inputs()
    with torch.inference_mode():
        assert torch.equal(network(*inputs), network(*inputs))
        network.train()
        assert not torch.equal(network(*inputs), network(*inputs))


def test_weights_come_from_the_configs_seed_and_leave_other_draws_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, again, other = forecaster(), forecaster(), forecaster(seed=8)
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.head.weight, other.head.weight)
