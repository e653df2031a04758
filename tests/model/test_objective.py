"""What a batch costs, whole or part by part: the same loss, the same gradients, less memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lstm_ray.config import Config
from lstm_ray.data.feed import source
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.windows import IGNORED, Batch
from lstm_ray.model.network import build
from lstm_ray.model.objective import Objective, precision
from tests import made

SEGMENTS = made.segments_of([120], schema=made.schema_of(known=["price"]))
SCALED = SEGMENTS.scaled(made.scaler_of(SEGMENTS))
DAYS = made.sequences_of([12, 9, 10] * 6)
DAY_PARTS: Boundaries = {"train": (0, 24 * 16), "validation": (24 * 16, 24 * 18), "test": (24 * 18, 24 * 20)}


def batch_of(config: Config, number: int = 7) -> Batch:
    if config.task == "classify":
        return source(DAYS, DAY_PARTS, "train", config).cut(np.arange(number))
    return source(SCALED, made.PARTS, "train", config).cut(np.arange(number))


def objective_of(config: Config, class_weight: list[float] | None = None) -> Objective:
    network = build(config, (DAYS if config.task == "classify" else SEGMENTS).schema)
    return Objective(config, network, network, torch.tensor(class_weight) if class_weight else None)


def backward(config: Config, class_weight: list[float] | None = None) -> tuple[float, dict[str, Tensor], int]:
    """Loss, gradients and the number of backward passes of a batch."""
    objective = objective_of(config, class_weight)
    losses = []
    for loss in objective.losses(objective.lesson(batch_of(config))):
        loss.backward()
        losses.append(float(loss.detach()))
    gradients = {name: w.grad for name, w in objective.network.named_parameters() if w.grad is not None}
    return sum(losses), gradients, len(losses)


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-4, msg=name)


@pytest.mark.parametrize(
    "values", [{}, {"model__quantiles": [0.1, 0.5]}, {"model__distribution": "student_t"}], ids=str
)
@pytest.mark.parametrize(("accumulate", "passes"), [(2, 2), (3, 3), (7, 7), (5, 4)])
def test_a_batch_read_in_parts_has_the_gradient_of_the_whole(
    values: dict[str, Any], accumulate: int, passes: int
) -> None:
    whole = backward(made.make_config(**values))
    parts = backward(made.make_config(train__accumulate=accumulate, **values))
    assert parts[0] == pytest.approx(whole[0], rel=1e-5)
    assert_same(parts[1], whole[1])
    assert (whole[2], parts[2]) == (1, passes)


def test_sequences_to_classify_are_read_in_parts_too() -> None:
    whole = backward(made.classify_config(), [0.5, 2.0])
    parts = backward(made.classify_config(train__accumulate=3), [0.5, 2.0])
    assert parts[0] == pytest.approx(whole[0], rel=1e-5)
    assert_same(parts[1], whole[1])


@pytest.mark.parametrize("normalisation", ["none", "mean", "mean_deviation"])
@pytest.mark.parametrize("steps", [28, 32, 100])
def test_truncation_beyond_the_sequence_is_full_backpropagation(normalisation: str, steps: int) -> None:
    values: dict[str, Any] = {"model__normalisation": normalisation, "model__layers": 2}
    whole = backward(made.make_config(**values))
    truncated = backward(made.make_config(train__truncate_steps=steps, **values))
    assert truncated[0] == pytest.approx(whole[0], rel=1e-5)
    assert_same(truncated[1], whole[1])
    assert truncated[2] == 1


@pytest.mark.parametrize(("steps", "passes"), [(4, 5), (8, 3), (12, 3), (16, 2)])
def test_truncation_carries_the_state_over_and_cuts_gradients_alone(steps: int, passes: int) -> None:
    whole, truncated = backward(made.make_config()), backward(made.make_config(train__truncate_steps=steps))
    assert truncated[0] == pytest.approx(whole[0], rel=1e-5)
    recurrent = "body.layers.0.weight_hh_l0"
    assert not torch.allclose(truncated[1][recurrent], whole[1][recurrent], rtol=1e-2, atol=1e-3)
    # What reads the states alone has no past to lose.
    torch.testing.assert_close(truncated[1]["head.weight"], whole[1]["head.weight"], rtol=1e-4, atol=1e-4)
    assert truncated[2] == passes


def test_truncation_and_accumulation_go_together() -> None:
    alone = backward(made.make_config(train__truncate_steps=8))
    both = backward(made.make_config(train__truncate_steps=8, train__accumulate=2))
    assert both[0] == pytest.approx(alone[0], rel=1e-5)
    assert_same(both[1], alone[1])
    assert both[2] == 6


@contextmanager
def held_bytes() -> Iterator[list[int]]:
    """The most bytes of activations that were kept for gradients at one time, as the only item."""
    now, peak = 0, [0]

    class Held:
        def __init__(self, tensor: Tensor) -> None:
            nonlocal now
            self.tensor, self.size = tensor, tensor.numel() * tensor.element_size()
            now += self.size
            peak[0] = max(peak[0], now)

        def __del__(self) -> None:
            nonlocal now
            now -= self.size

    with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
        yield peak


@pytest.mark.parametrize("values", [{"train__truncate_steps": 8}, {"train__accumulate": 8}], ids=str)
def test_reading_in_parts_holds_fewer_activations(values: dict[str, Any]) -> None:
    long = {"train__origins": 20, "train__batch": 8, "model__hidden": 16}
    with held_bytes() as whole:
        backward(made.make_config(**long))
    with held_bytes() as parts:
        backward(made.make_config(**long, **values))
    assert parts[0] < 0.4 * whole[0]


class Averaged(torch.nn.Module):
    """Counts the backward passes in which a wrapper such as DDP would average gradients."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network, self.averages, self.averaging = network, 0, True

    def forward(self, *inputs: Any, **named: Any) -> Any:
        self.averages += self.averaging and torch.is_grad_enabled()
        return self.network(*inputs, **named)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        self.averaging = False
        yield
        self.averaging = True


@pytest.mark.parametrize("values", [{}, {"train__accumulate": 3}, {"train__truncate_steps": 8, "train__accumulate": 2}])
def test_processes_average_once_a_step_however_many_parts_there_are(values: dict[str, Any]) -> None:
    config = made.make_config(**values)
    network = build(config, SEGMENTS.schema)
    wrapped = Averaged(network)
    objective = Objective(config, network, wrapped)
    for loss in objective.losses(objective.lesson(batch_of(config))):
        loss.backward()
    assert wrapped.averages == 1


def test_class_weights_weigh_losses_and_their_count_but_not_hits() -> None:
    batch = batch_of(made.classify_config())
    batch.label_B[-1] = IGNORED
    plain, weighted = (objective_of(made.classify_config(), weight) for weight in (None, [0.5, 3.0]))
    single = [plain.sums(plain.lesson(one)).tolist() for one in each(batch)]
    weights = [[0.5, 3.0][label] for label in batch.label_B[:-1]] + [0.0]
    loss, weight, hits, count = weighted.sums(weighted.lesson(batch)).tolist()
    assert loss == pytest.approx(sum(w * sums[0] for w, sums in zip(weights, single, strict=True)), rel=1e-5)
    assert weight == pytest.approx(sum(weights)) == pytest.approx(float(weighted.weight(weighted.lesson(batch))))
    assert hits == sum(sums[2] for sums in single)
    assert count == 6


def each(batch: Batch) -> list[Batch]:
    return [Batch(**{name: value[i : i + 1] for name, value in vars(batch).items()}) for i in range(len(batch.label_B))]


def test_bfloat16_is_close_to_float32_and_sums_stay_float32() -> None:
    found = {}
    for wanted in ("float32", "bfloat16"):
        config = made.make_config(train__precision=wanted, model__hidden=32)
        objective = objective_of(config)
        found[wanted] = objective.sums(objective.lesson(batch_of(config)))
        assert found[wanted].dtype == torch.float32
        next(objective.losses(objective.lesson(batch_of(config)))).backward()
        assert all(torch.isfinite(w.grad).all() for w in objective.network.parameters() if w.grad is not None)
    assert not torch.equal(found["bfloat16"], found["float32"])
    torch.testing.assert_close(found["bfloat16"], found["float32"], rtol=0.02, atol=0.02)


@pytest.mark.parametrize(("short", "tiles", "expected"), [(True, False, "bfloat16"), (False, True, "bfloat16")])
def test_a_cpu_that_multiplies_in_bfloat16_does_so(monkeypatch, short: bool, tiles: bool, expected: str) -> None:
    config, here = made.make_config(train__precision="auto"), torch.device("cpu")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: short)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)
    assert precision(config, here) == expected
    assert precision(made.make_config(train__precision="float32"), here) == "float32"
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert precision(config, here) == "float32", "one that would only convert computes in float32"
    assert precision(config, torch.device("cuda")) == "bfloat16"
    assert precision(made.make_config(train__precision="bfloat16"), here) == "bfloat16"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_has_the_losses_of_a_cpu() -> None:
    config = made.make_config(train__precision="float32")
    here = objective_of(config)
    expected = here.sums(here.lesson(batch_of(config)))
    network = build(config, SEGMENTS.schema).cuda()
    there = Objective(config, network, network)
    torch.testing.assert_close(there.sums(there.lesson(batch_of(config))).cpu(), expected, rtol=1e-3, atol=1e-2)
    half = Objective(made.make_config(train__precision="auto"), network, network)
    assert torch.is_autocast_enabled("cuda") is False
    torch.testing.assert_close(half.sums(half.lesson(batch_of(config))).cpu(), expected, rtol=0.05, atol=0.05)
