"""Functions in a process of their own."""

from __future__ import annotations

import pytest

from lstm_ray.benchmark import fresh

WINDOW = {"history": 8, "horizon": 4, "patch": 2}


def test_a_function_answers_from_its_own_process_without_gpus_and_with_one_thread() -> None:
    found = fresh.call("lstm_ray.benchmark.memory:peak", window=WINDOW, origins=5, batch=3, num_rows=100, epochs=1)
    assert found["history"] == 8
    assert 2**26 < found["before_bytes"] <= found["peak_bytes"]


def test_a_gpu_is_hidden_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert fresh.call("os:getenv", key="CUDA_VISIBLE_DEVICES") == ""
    assert fresh.call("os:getenv", gpu=True, key="CUDA_VISIBLE_DEVICES") == "3"
    assert fresh.call("os:getenv", key="OMP_NUM_THREADS") == "1"


def test_a_function_that_fails_says_which(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="operator:truediv ended with exit code 1"):
        fresh.call("operator:truediv", a=1)
    assert "TypeError" in capfd.readouterr().err
