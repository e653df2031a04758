"""An exported policy with coarser weights, and what that costs on real windows. Knows no run directory.

int8: the ONNX file's LSTM layers and products, their inputs quantised as they come (dynamically). bf16: the LSTM layers of
the torch.export program. What scales and tells the data's units is never touched.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lstm_ray.errors import InputError
from lstm_ray.model.export import writing
from lstm_ray.model.export.exporting import FILES, OPENERS, in_turns, program
from lstm_ray.model.export.feeds import feeds
from lstm_ray.model.export.lengths import padded
from lstm_ray.model.export.writing import Answers
from lstm_ray.model.policy import Policy
from lstm_ray.model.request import SeriesInput
from lstm_ray.model.threads import threads

OF = {"int8": "onnx", "bf16": "torch"}
"""The form that each kind of weights is of."""
QUANTISED = {"int8": "policy.int8.onnx", "bf16": "policy.bf16.pt2"}
LOSS, GAIN = 0.01, 0.8
"""Worth it below this relative loss of accuracy, and below this share of the time or size before, if the other grows by no
more than it would shrink by."""


@dataclass(frozen=True)
class Quantised:
    """A form with coarser weights beside the one it was made from, on the same windows."""

    kind: str
    file: str
    size_bytes: int
    size_bytes_before: int
    sha256: str
    metric: str
    """'mae' (of the median; in training deviations where there are several targets), or 'accuracy'."""
    value: float
    value_before: float
    windows: int
    """How many series the metric is of."""
    ms: float
    ms_before: float

    @property
    def loss(self) -> float:
        """Relative: above 0 it answers worse."""
        change = self.value - self.value_before if self.metric == "mae" else self.value_before - self.value
        return change / self.value_before if self.value_before else 0.0

    @property
    def change(self) -> str:
        """The loss in words."""
        if not self.loss:
            return "as good"
        return f"{abs(self.loss):.2%} {'worse' if self.loss > 0 else 'better'}"

    @property
    def verdict(self) -> str:
        size, speed = self.size_bytes / self.size_bytes_before, self.ms / self.ms_before
        if self.loss > LOSS:
            return f"not worth it: it answers {self.loss:.1%} worse"
        if min(size, speed) > GAIN or max(size, speed) > 1 / GAIN:
            return f"not worth it: {size:.2f} of the size and {speed:.2f} of the time"
        return f"worth it: {size:.2f} of the size, {speed:.2f} of the time, {self.change}"


@threads(1)
def quantise(
    policy: Policy, folder: Path, kind: str, series: Sequence[SeriesInput], actual: Sequence[NDArray]
) -> Quantised:
    """Write one of QUANTISED beside the form that it is made of, which ``export`` wrote there.

    Args:
        series: whose answers are judged.
        actual: of each: [H, C] values, the number of its class, or [L] labels; NaN where not known.

    Raises InputError for another kind, a form that is not there, or a machine or package that has no such numbers.
    """
    if kind not in OF:
        raise InputError(f"weights cannot be quantised to '{kind}'; known: {', '.join(OF)}")
    before, file = folder / FILES[OF[kind]], folder / QUANTISED[kind]
    if not before.exists():
        raise InputError(f"{kind} is made of {before.name}, which is not in '{folder}': export to {OF[kind]} too")
    if kind == "int8":
        _to_int8(before, file)
    else:
        if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            raise InputError("bf16 needs a processor that computes with it (AVX-512 or better); this one does not")
        writing.save_torch(program(policy, torch.bfloat16), file)
    ask, ask_before = OPENERS[OF[kind]](file), OPENERS[OF[kind]](before)
    metric = "mae" if policy.config.answers == "values" else "accuracy"
    one, content = padded(feeds(policy, series[:1]), policy), file.read_bytes()
    ms, ms_before = in_turns(lambda: ask(one), lambda: ask_before(one))
    return Quantised(
        kind=kind,
        file=file.name,
        size_bytes=len(content),
        size_bytes_before=before.stat().st_size,
        sha256=hashlib.sha256(content).hexdigest(),
        metric=metric,
        value=_judged(ask, policy, series, actual),
        value_before=_judged(ask_before, policy, series, actual),
        windows=len(series),
        ms=ms,
        ms_before=ms_before,
    )


def _to_int8(before: Path, file: Path) -> None:
    runtime, quantisation = writing.package("onnxruntime"), writing.package("onnxruntime.quantization")
    with tempfile.TemporaryDirectory() as folder:
        # An LSTM is quantised where its weights are constants of the file, not put in order by its operators.
        folded = Path(folder) / "folded.onnx"
        options = runtime.SessionOptions()
        options.optimized_model_filepath, options.log_severity_level = str(folded), 3
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        runtime.InferenceSession(str(before), options, providers=["CPUExecutionProvider"])
        model = writing.package("onnx").load(str(folded))
        # Said by whoever has prepared a model; else its absence is warned of.
        model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
        with writing.quiet():
            quantisation.quantize_dynamic(
                model,
                str(file),
                op_types_to_quantize=["LSTM", "MatMul", "Gemm"],
                weight_type=quantisation.QuantType.QInt8,
                extra_options={"EnableSubgraph": False, "DefaultTensorType": 1},
            )


def _judged(ask: Answers, policy: Policy, series: Sequence[SeriesInput], actual: Sequence[NDArray]) -> float:
    """The metric over some series."""
    fed = padded(feeds(policy, series), policy)
    found = ask(fed)
    if policy.config.task == "forecast":
        error = np.abs(found[..., policy.quantiles.index(0.5)] - np.stack(actual))
        deviation = policy.scaler.target_deviation if error.shape[2] > 1 else 1.0
        return float(np.nanmean(error / deviation))
    if policy.config.task == "classify":
        return float(np.mean(found.argmax(-1) == np.array(actual)))
    patch, right = policy.config.window.patch, []
    for own, label in zip(found, actual, strict=True):
        told = own[-len(label) % patch :][: len(label)]
        gap = told.argmax(-1) == label if policy.schema.classes else np.abs(told[:, 0] - label)
        right.append(gap[~np.isnan(label)])
    return float(np.concatenate(right).mean())
