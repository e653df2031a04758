"""The bare loops train what they say they train, and the made-up series holds the windows asked for."""

from __future__ import annotations

import pytest
import torch

from lstm_ray.benchmark import bare, made_up, speed
from lstm_ray.data.feed import source
from lstm_ray.model.network import build

WINDOW = {"history": 8, "horizon": 4, "patch": 2}
VALUES = torch.sin(torch.arange(60.0))


def test_every_origin_of_the_series_is_trained_once() -> None:
    loop = bare.every_origin(VALUES, WINDOW, 4, batch=3, origins=5, num_inputs=2)
    origins = [
        values[8 - 1 + 2 * n : 8 + 2 * n + 4].tolist()
        for _, batch in loop.batches
        for values in batch
        for n in range(5)
    ]
    assert len({tuple(window) for window in origins}) == len(origins) == 5 * 9
    assert loop.windows_per_second() > 0


def test_the_last_origin_of_a_sequence_sees_what_a_window_alone_sees() -> None:
    usual = bare.window_at_a_time(VALUES, WINDOW, 4, batch=3, num_batches=2)
    inputs_BNI, values_BT, _ = usual.read(*usual.batches[0])
    assert (inputs_BNI.shape, values_BT.shape) == ((3, 4, 2), (3, 12))
    assert torch.equal(inputs_BNI.flatten(1), values_BT[:, :8])
    assert usual.net(inputs_BNI, 3).shape == (3, 1, 4)


def test_both_loops_learn() -> None:
    for loop in (
        bare.every_origin(VALUES, WINDOW, 8, batch=3, origins=5, num_inputs=6),
        bare.window_at_a_time(VALUES, WINDOW, 8, batch=8, num_batches=4),
        bare.same_network(VALUES, WINDOW, 8, batch=3, origins=5),
    ):
        before = {name: value.clone() for name, value in loop.net.state_dict().items()}
        loop.windows_per_second()
        assert all(not torch.equal(before[name], value) for name, value in loop.net.state_dict().items())


def test_the_bare_lstm_reads_as_many_inputs_as_the_trainers() -> None:
    config = made_up.config(WINDOW, origins=5, batch=3, max_epochs=1)
    segments, _ = made_up.series(50, WINDOW)
    own = speed.num_inputs(config, segments.schema)
    assert own >= 2 * WINDOW["patch"] + 2  # values, which were measured, level and scale
    loop = bare.every_origin(VALUES, WINDOW, 4, 3, 5, own)
    assert loop.net.lstm.input_size == own == loop.batches[0][0].shape[-1]


def test_the_same_network_forecasts_what_the_trainers_does() -> None:
    """With the same weights; so it is the trainer's own arithmetic that the trainer is timed against."""
    config = made_up.config(WINDOW, origins=5, batch=3, max_epochs=1)
    segments, _ = made_up.series(50, WINDOW)
    network = build(config, segments.schema).eval()
    loop = bare.same_network(VALUES, WINDOW, made_up.HIDDEN, batch=3, origins=5)
    lstm = {f"lstm.{name.removeprefix('layers.0.')}": weight for name, weight in network.body.state_dict().items()}
    with torch.no_grad():
        network.newest.weight.normal_(std=0.1)
        own = {name: weight for name, weight in network.state_dict().items() if name.startswith(("head", "newest"))}
        loop.net.load_state_dict(lstm | own)
        (values_BT,) = loop.batches[0]
        inputs_BNI, _, level_BN1 = loop.read(values_BT)
        found = loop.net(inputs_BNI, 3) + level_BN1[:, 3:]
        ones, none = torch.ones(*values_BT.shape, 1), torch.zeros(*values_BT.shape, 0)
        expected = network(values_BT[..., None], ones, none, none)[..., 0, 0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("patch", [1, 2])
def test_the_made_up_series_holds_the_windows_asked_for(patch: int) -> None:
    window = {**WINDOW, "patch": patch}
    config = made_up.config(window, origins=5, batch=3, max_epochs=1)
    segments, parts = made_up.series(50, window)
    assert source(segments, parts, "train", config).num_windows == 50
    assert 0 < source(segments, parts, "validation", config).num_windows <= 8 * patch + 1
    assert abs(float(segments.target_RC.mean())) < 0.5


def test_loops_take_turns_and_the_first_turn_does_not_count() -> None:
    found = speed.compare(WINDOW, origins=5, batch=3, num_windows=50, repeats=2, window_batches={"4": 2})
    assert set(found) == {speed.TRAINER, speed.SAME, speed.BODY, speed.VALUES, "4"}
    assert all(len(values) == 2 and min(values) > 0 for values in found.values())
