"""The network looks back alone, its forecasts hear the newest input, and padding is silent.

Shapes as in ``network.py``: B sequences, T steps, N origins, H horizon, C targets, Q quantiles.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lstm_ray.data.windows import cut_sequences, cut_windows, plan_sequences
from lstm_ray.model.network import Classifier, Forecaster, Inputs, _ascending, _trailing_mean, build
from tests import made

SCHEMA = made.schema_of(target=["load", "heat"], known=["price"])
L, H, P, N = 12, 6, 4, 4
T = L + (N - 1) * P + H
NORMALISATIONS = ["none", "last", "mean", "mean_deviation"]
BODIES: list[dict[str, Any]] = [
    {},
    {"model__layers": 2},
    {"model__layers": 2, "model__residual": True},
    {"model__attention": True},
    {"model__layers": 2, "model__residual": True, "model__attention": True},
]


def forecaster(**values: Any) -> Forecaster:
    config = made.make_config(**({"model__quantiles": [0.1, 0.5, 0.9]} | values))
    network = build(config, SCHEMA).eval()
    assert isinstance(network, Forecaster)
    return network


def random_inputs(batch: int = 2, steps: int = T) -> Inputs:
    draw = torch.Generator().manual_seed(0)
    sizes = (2, 2, 1, SCHEMA.num_known)
    target, observed, past, known = (torch.randn(batch, steps, size, generator=draw) for size in sizes)
    return Inputs(target.cumsum(1) / 3, (observed > -1).float(), past, known)


@pytest.mark.parametrize("body", BODIES, ids=str)
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_the_future_changes_no_earlier_forecast(normalisation: str, body: dict[str, Any]) -> None:
    network, inputs = forecaster(model__normalisation=normalisation, **body), random_inputs()
    with torch.inference_mode():
        before_BNHCQ = network(*inputs)
        assert before_BNHCQ.shape == (2, N, H, 2, 3)
        for n in range(N - 1):
            after_origin = L + n * P
            later = Inputs(*(part.clone() for part in inputs))
            for part in later[:3]:
                part[:, after_origin:] = 7.0
            later.known_BTK[:, after_origin + H :] = 7.0
            after_BNHCQ = network(*later)
            torch.testing.assert_close(after_BNHCQ[:, : n + 1], before_BNHCQ[:, : n + 1], rtol=0, atol=1e-6)
            assert (after_BNHCQ[:, n + 1] - before_BNHCQ[:, n + 1]).abs().min() > 1e-6


@pytest.mark.parametrize("body", BODIES, ids=str)
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_every_lead_hears_the_newest_step(normalisation: str, body: dict[str, Any]) -> None:
    network, inputs = forecaster(model__normalisation=normalisation, **body), random_inputs(1)
    for part in inputs:
        part.requires_grad_()
    forecast_NHQ = network(*inputs)[0, :, :, 0]
    for n in range(N):
        newest = L + n * P - 1
        for h in range(H):
            for q in range(3):
                gradients = torch.autograd.grad(forecast_NHQ[n, h, q], inputs, retain_graph=True)
                target, observed, past, known = (gradient[0].abs() for gradient in gradients)
                assert min(target[newest, 0], observed[newest, 0], past[newest, 0], known[newest].min()) > 0
                assert max(part[newest + 1 :].max() for part in (target, observed, past)) == 0
                # Of the known future, each lead hears its own step.
                heard = (known[newest + 1 :].amax(1) > 0).nonzero().ravel().tolist()
                assert heard == [h]


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


def test_futures_are_the_steps_after_each_origin() -> None:
    values_BTC = torch.arange(T, dtype=torch.float32).reshape(1, T, 1)
    found = forecaster().futures(values_BTC)[0, :, :, 0]
    assert found.tolist() == [[float(L + n * P + h) for h in range(H)] for n in range(N)]


@pytest.mark.parametrize("length", [1, 3, 12, 50])
def test_the_trailing_mean_is_that_of_the_newest_steps(length: int) -> None:
    values_BTC = random_inputs().target_BTC
    expected = [values_BTC[:, max(0, t + 1 - length) : t + 1].mean(1) for t in range(T)]
    torch.testing.assert_close(_trailing_mean(values_BTC, length), torch.stack(expected, 1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_the_level_is_taken_out_at_the_origin(normalisation: str) -> None:
    network = forecaster(model__normalisation=normalisation, model__normalisation_steps=8)
    target_BTC = random_inputs().target_BTC
    level_BNC, scale_BNC = network._statistics(target_BTC[:, : T - H])
    for n in range((T - H) // P):
        seen = target_BTC[:, max(0, (n + 1) * P - 8) : (n + 1) * P]
        zero, one = torch.zeros(2, 2), torch.ones(2, 2)
        level, scale = {
            "none": (zero, one),
            "last": (seen[:, -1], one),
            "mean": (seen.mean(1), one),
            "mean_deviation": (seen.mean(1), seen.std(1, correction=0)),
        }[normalisation]
        torch.testing.assert_close(level_BNC[:, n], level, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(scale_BNC[:, n], scale, rtol=1e-3, atol=1e-4)


def test_a_flat_history_does_not_blow_its_noise_up() -> None:
    network = forecaster(model__normalisation="mean_deviation")
    _, scale_BNC = network._statistics(torch.full((1, L, 2), 3.0))
    torch.testing.assert_close(scale_BNC, torch.full_like(scale_BNC, 0.05))


@given(st.lists(st.floats(-1e3, 1e3), min_size=5, max_size=5), st.integers(0, 4))
def test_quantiles_never_cross_and_leave_the_median_alone(raw: list[float], median: int) -> None:
    found = _ascending(torch.tensor(raw), median)
    assert (found.diff() >= 0).all()
    assert found[median] == torch.tensor(raw)[median]


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


def test_the_forget_gate_starts_open_and_the_recurrence_orthogonal() -> None:
    layer: Any = forecaster(model__hidden=8).body.layers[0]
    bias = layer.bias_ih_l0 + layer.bias_hh_l0
    assert bias.tolist() == [0.0] * 8 + [1.0] * 8 + [0.0] * 16
    gates: tuple[Tensor, ...] = layer.weight_hh_l0.split(8)
    for gate in gates:
        torch.testing.assert_close(gate @ gate.T, torch.eye(8), rtol=0, atol=1e-5)


CLASSIFIERS = [
    {
        "model__bidirectional": bidirectional,
        "model__attention": attention,
        "model__pooling": pooling,
        "model__layers": 2,
    }
    for bidirectional in (False, True)
    for attention in (False, True)
    for pooling in ("mean", "max", "last")
]


@pytest.mark.parametrize("values", CLASSIFIERS, ids=str)
def test_a_sequence_is_classified_alike_whatever_it_is_batched_with(values: dict[str, Any]) -> None:
    segments = made.sequences_of([12, 3, 7, 4])
    network = build(made.classify_config(**values), segments.schema).eval()
    assert isinstance(network, Classifier)
    batch = cut_sequences(segments, np.arange(4), 12, patch=4)
    inputs = [torch.from_numpy(part) for part in (batch.past_BTP, batch.known_BTK, batch.origin_BN)]
    padding_BN = inputs[2] == 0
    with torch.inference_mode():
        together = network(*inputs)
        for part in inputs[:2]:
            part[padding_BN.repeat_interleave(4, dim=1)] = 99.0
        torch.testing.assert_close(network(*inputs), together, rtol=1e-5, atol=1e-6)
        for item, length in enumerate([12, 3, 7, 4]):
            alone = cut_sequences(segments, np.array([item]), length, patch=4)
            parts = (alone.past_BTP, alone.known_BTK, alone.origin_BN)
            logits = network(*(torch.from_numpy(part) for part in parts))
            torch.testing.assert_close(logits[0], together[item], rtol=1e-4, atol=1e-5)


def test_only_a_bidirectional_classifier_reads_backwards() -> None:
    segments = made.sequences_of([12])
    past, known = torch.from_numpy(segments.past_RP)[None], torch.from_numpy(segments.known_RK)[None]
    changed = past.clone()
    changed[:, -4:] += 5
    for both, same in ((False, True), (True, False)):
        body = (
            build(made.classify_config(model__bidirectional=both, model__attention=True), segments.schema).eval().body
        )
        inputs = [torch.cat([part, known], -1).unflatten(1, (-1, 4)).flatten(2) for part in (past, changed)]
        with torch.inference_mode():
            first, second = (body(part, torch.ones(1, 3))[:, 0] for part in inputs)
        assert torch.allclose(first, second) == same
