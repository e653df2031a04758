"""The bare loops train what they say they train, and the made-up series holds the windows asked for."""

from __future__ import annotations

import pytest
import torch

from lstm_ray.benchmark import bare, made_up, speed
from lstm_ray.data.feed import source

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
    inputs_BNI, values_BT = usual.read(*usual.batches[0])
    assert (inputs_BNI.shape, values_BT.shape) == ((3, 4, 2), (3, 12))
    assert torch.equal(inputs_BNI.flatten(1), values_BT[:, :8])
    assert usual.net(inputs_BNI, 3).shape == (3, 1, 4)


def test_both_loops_learn() -> None:
    for loop in (
        bare.every_origin(VALUES, WINDOW, 8, batch=3, origins=5, num_inputs=6),
        bare.window_at_a_time(VALUES, WINDOW, 8, batch=8, num_batches=4),
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
    assert set(found) == {"trainer", "every origin", "every origin, values alone", "4"}
    assert all(len(values) == 2 and min(values) > 0 for values in found.values())
