"""Graphs answer as their policy does, at other sizes and lengths than they were traced with."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lstm_ray.config import Config
from lstm_ray.data.quality.clean import Cleaning
from lstm_ray.data.quality.impute import FORWARD
from lstm_ray.data.scaling.transform import Transform
from lstm_ray.data.schema import Fence, Scaler, SeriesUnits, Units
from lstm_ray.data.windows import Segments
from lstm_ray.errors import InputError
from lstm_ray.model.conformal import Conformal
from lstm_ray.model.example import example
from lstm_ray.model.export import writing
from lstm_ray.model.export.exporting import FILES, OPENERS, TOLERANCE, export
from lstm_ray.model.export.feeds import feeds, inputs_of
from lstm_ray.model.export.graph import graph
from lstm_ray.model.export.lengths import answer_of, least, of_length, padded, traced, trials
from lstm_ray.model.export.quantising import Quantised, quantise
from lstm_ray.model.network import build
from lstm_ray.model.policy import Policy
from tests import made

LEVELS = [0.1, 0.5, 0.9]
FIXED = ("weight_E", "zero_C", "unit_C", "spread_C", "share", "weight_VJFL")


def noisy(config: Config, segments: Segments, scaler: Scaler | None = None, **parts: Any) -> Policy:
    """A policy whose every learned number is away from what it starts from: nothing is silent."""
    network, generator = build(config, segments.schema), torch.Generator().manual_seed(3)
    weights = {
        name: value
        if any(fixed in name for fixed in FIXED)
        else value + 0.1 * torch.randn(value.shape, generator=generator)
        for name, value in network.state_dict().items()
    }
    return Policy(config, segments.schema, scaler or made.scaler_of(segments), weights, **parts)


def forecaster(scaler: Scaler | None = None, **values: object) -> Policy:
    return noisy(made.make_config(**values), made.segments_of(), scaler)


def calibrated() -> Policy:
    """Two kinds of networks, a linear map, two targets, a known column, an interval that was calibrated."""
    schema = made.schema_of(target=("load", "heat"), known=("price",))
    schema = schema.model_copy(update={"categories": {"kind": ["x", "y"]}})
    config = made.make_config(model__normalisation="auto", model__linear="average", model__quantiles=LEVELS)
    shift = np.random.default_rng(0).normal(0, 0.3, (6, 2, 3)).astype(np.float32)
    shift[..., 1] = 0
    calibration = Conformal(tuple(LEVELS), shift, np.full(2, 0.1, np.float32), 40, 40)
    return noisy(config, made.segments_of(schema=schema), calibration=calibration)


def transformed(kind: str) -> Scaler:
    scaler = made.scaler_of(made.segments_of())
    unit = 2.0 if kind == "yeo_johnson" else 1.0
    transform = Transform(kind=kind, power=[0.5], offset=[0.0], least=[0.5], unit=[unit])  # type: ignore[arg-type]
    units = Units(zero=[4.0], unit=[1.0], typical=[4.0], spread=[1.0])
    return scaler.model_copy(update={"transform": transform, "read": {"target": units}})


def by_series() -> Scaler:
    units = SeriesUnits(of={"known": [19.0, 2.0]}, scale="standard", steps=12)
    return made.scaler_of(made.segments_of()).model_copy(update={"series": units})


def fenced() -> Scaler:
    scaler = made.scaler_of(made.segments_of())
    cleaning = Cleaning(method="z", action="clip", deviations=1.0, steps=48, filling=FORWARD)
    fences = {role: Fence(low=[19.0], high=[21.0]) for role in ("target", "past")} | {"known": Fence(low=[], high=[])}
    return scaler.model_copy(update={"cleaning": cleaning, "fences": fences})


POLICIES: dict[str, Callable[[], Policy]] = {
    "calibrated": calibrated,
    "single steps": lambda: forecaster(window__patch=1, model__normalisation="mean_deviation", model__linear="trained"),
    "changes": lambda: forecaster(model__difference=6, model__linear="average", model__normalisation="mean_deviation"),
    "attention": lambda: forecaster(
        model__attention=True, model__layers=2, model__residual=True, model__layer_norm=True
    ),
    "gaussian": lambda: forecaster(model__distribution="gaussian", model__quantiles=LEVELS),
    "student": lambda: forecaster(model__distribution="student_t", model__quantiles=LEVELS),
    "relu": lambda: forecaster(model__output="relu", model__normalisation="last", model__linear="residual"),
    "sigmoid": lambda: forecaster(model__output="sigmoid", model__normalisation="none"),
    "lags": lambda: forecaster(window__lags=[6, 24], model__quantiles=LEVELS),
    "logarithms": lambda: forecaster(made.in_logarithms(transformed("log1p"), 1.0, 3.0, 0.2)),
    "box_cox": lambda: forecaster(transformed("box_cox")),
    "yeo_johnson": lambda: forecaster(transformed("yeo_johnson"), model__quantiles=LEVELS),
    "series": lambda: forecaster(by_series(), window__lags=[6]),
    "fences": lambda: forecaster(fenced()),
    "kernels": lambda: classifier(model__linear="average", model__members=2, model__pooling="max"),
    "both ways": lambda: classifier(
        window__history=32, model__bidirectional=True, model__layers=2, model__pooling="last"
    ),
    "pooled attention": lambda: classifier(
        model__bidirectional=True, model__attention=True, model__pooling="attention"
    ),
    "labels": lambda: noisy(made.label_config(), made.labelled_of()),
    "values": lambda: noisy(
        made.value_config(window__patch=4, window__history=32, model__attention=True), made.labelled_of(kind="value")
    ),
    "labels both ways": lambda: noisy(
        made.label_config(window__patch=2, model__bidirectional=True, model__attention=True), made.labelled_of()
    ),
}
EXPORTED = ("calibrated", "both ways", "values")
"""Written and opened again here: each takes seconds. The others are asked as the module that is written."""


def classifier(**values: object) -> Policy:
    segments = made.sequences_of([12] * 8)
    schema = segments.schema.model_copy(update={"categories": {"kind": ["x", "y"]}})
    config = made.classify_config(**{"model__linear": "none", **values})
    return noisy(config, replace(segments, schema=schema, category_SK=np.ones((8, 1), np.int64)))


@pytest.mark.parametrize("name", POLICIES)
def test_the_graph_answers_as_the_policy_at_any_size_and_length(name: str) -> None:
    policy = POLICIES[name]()
    module, given = graph(policy), [example(policy)]
    tried = []
    for trial in trials(policy, given, (1, 3)):
        with torch.no_grad():
            told = module(**{key: torch.from_numpy(values) for key, values in trial.feeds.items()}).numpy()
        tried.append(trial.steps)
        for own, answer in zip(told, trial.answers, strict=True):
            lead = -len(answer) % policy.config.window.patch if policy.config.task == "label" else 0
            np.testing.assert_allclose(own[lead : lead + len(answer)], answer, rtol=1e-5, atol=1e-5)
    assert len(set(tried)) > 1


@pytest.fixture(scope="module", params=EXPORTED)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Policy, Path]:
    policy, folder = POLICIES[request.param](), tmp_path_factory.mktemp("exported")
    export(policy, folder, ["onnx", "torch"])
    return policy, folder


def test_onnx_and_torch_files_answer_batches_and_lengths_that_they_were_not_traced_with(
    exported: tuple[Policy, Path],
) -> None:
    policy, folder = exported
    given = example(policy)
    was = traced(policy, given)
    first = inputs_of(policy)[0].name
    for kind, file in FILES.items():
        ask = OPENERS[kind](folder / file)
        shapes = set()
        for trial in trials(policy, [given], (1, 5)):
            assert trial.feeds[first].shape[:2] != was[first].shape[:2]
            shapes.add(trial.feeds[first].shape[:2])
            for own, answer in zip(ask(trial.feeds), trial.answers, strict=True):
                lead = -len(answer) % policy.config.window.patch if policy.config.task == "label" else 0
                np.testing.assert_allclose(own[lead : lead + len(answer)], answer, atol=1e-3, rtol=1e-4)
        assert len({batch for batch, _ in shapes}) == 2
        assert len({steps for _, steps in shapes}) > 1


def test_a_report_tells_what_was_written_with_hashes_and_differences(exported: tuple[Policy, Path]) -> None:
    policy, folder = exported
    told = json.loads((folder / "export.json").read_text())
    assert told["policy"] == policy.version
    assert set(told["files"]) == set(FILES.values())
    for name, one in told["files"].items():
        assert one["size_bytes"] == (folder / name).stat().st_size
        assert 0 <= one["mean"] <= one["largest"] <= TOLERANCE
        assert len(one["sha256"]) == 64


def test_the_program_beside_an_onnx_file_runs_with_onnxruntime_alone(exported: tuple[Policy, Path]) -> None:
    _, folder = exported
    program = (folder / "policy.onnx.py").read_text()
    assert len(program.splitlines()) <= 22
    block = "import sys\nfor name in ('torch', 'lstm_ray', 'pandas', 'onnx'): sys.modules[name] = None\n"
    answer = subprocess.run(
        [sys.executable, "-c", block + program], capture_output=True, text=True, cwd=folder, timeout=120
    )
    assert answer.returncode == 0, answer.stderr
    assert float(answer.stdout.rsplit(maxsplit=1)[-1]) < 1e-3


def test_no_exported_file_holds_a_pickle_or_tells_where_it_was_made(exported: tuple[Policy, Path]) -> None:
    _, folder = exported
    with zipfile.ZipFile(folder / "policy.pt2") as archive:
        for name in archive.namelist():
            content = archive.read(name)
            assert not name.endswith((".pkl", ".pt")) or not content, name
            assert b"lstm_ray/model" not in content, name
    assert b"lstm_ray/model" not in (folder / "policy.onnx").read_bytes()


def test_coarser_weights_tell_what_they_cost(exported: tuple[Policy, Path]) -> None:
    policy, folder = exported
    given = [example(policy)] * 3
    actual = [answer_of(found) for found in policy.predict(given)]
    if policy.config.task == "forecast":
        actual = [values[..., 1] for values in actual]
    elif policy.config.task == "classify":
        actual = [np.array(values.argmax()) for values in actual]
    else:
        actual = [values[:, 0] for values in actual]
    found = quantise(policy, folder, "int8", given, actual)
    assert found.size_bytes == (folder / "policy.int8.onnx").stat().st_size
    assert "worth it" in found.verdict
    if found.metric == "mae":
        assert found.value_before < 1e-5 < found.value < 1.0
    else:
        assert found.value_before == 1.0


@pytest.mark.parametrize(
    ("size", "ms", "value", "worth"),
    [
        (31, 9.7, 1.001, True),
        (76, 42.6, 1.0, False),
        (31, 12.0, 1.0, True),
        (95, 9.5, 1.0, False),
        (31, 5.0, 1.02, False),
    ],
)
def test_coarser_weights_are_worth_it_where_nothing_gets_much_worse(
    size: int, ms: float, value: float, worth: bool
) -> None:
    found = Quantised("int8", "x", size, 100, "", "mae", value, 1.0, 3, ms, 10.0)
    assert found.verdict.startswith("worth it") == worth


def test_what_no_graph_holds_is_refused_by_the_name_of_its_setting() -> None:
    counts = forecaster(model__distribution="negative_binomial", model__quantiles=LEVELS)
    with pytest.raises(InputError, match=r"model\.distribution is negative_binomial"):
        graph(counts)
    cleaning = Cleaning(method="hampel", action="clip", deviations=3.0, steps=12, filling=FORWARD)
    scaler = made.scaler_of(made.segments_of()).model_copy(update={"cleaning": cleaning})
    with pytest.raises(InputError, match=r"preprocess\.outliers is clip by outlier_method hampel"):
        graph(forecaster(scaler))


def test_an_unknown_form_and_a_missing_package_say_what_to_do(
    tmp_path: Path, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="no form 'tflite'"):
        export(policy, tmp_path, ["tflite"])
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"onnxruntime.*lstm-ray\[onnx\]"):
        export(policy, tmp_path, ["onnx"])
    with pytest.raises(InputError, match=r"policy\.onnx, which is not in"):
        quantise(policy, tmp_path, "int8", [], [])
    assert not list(tmp_path.iterdir())


def test_a_graph_that_answers_otherwise_is_not_left_behind(
    tmp_path: Path, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = writing.open_torch

    def wrong(file: Path) -> writing.Answers:
        ask = opened(file)
        return lambda fed: ask(fed) + 1

    monkeypatch.setitem(OPENERS, "torch", wrong)
    with pytest.raises(InputError, match=r"policy\.pt2 answers .* and was removed"):
        export(policy, tmp_path, ["torch"])
    assert not (tmp_path / "policy.pt2").exists()


def test_a_series_of_another_length_ends_as_it_did(policy: Policy) -> None:
    given = example(policy)
    for steps in (5, 12, 40):
        other = of_length(given, steps, policy)
        assert str(other.times[-1]) == str(np.asarray(given.times)[-1])
        assert len(other.times) == steps
        kept = min(steps, 12)
        np.testing.assert_array_equal(np.asarray(other.columns["load"])[-kept:], given.columns["load"][-kept:])
    assert least(policy) == 3
    assert padded(feeds(policy, [given]), policy).keys() == {one.name for one in inputs_of(policy)}
