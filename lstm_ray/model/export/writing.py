"""A graph as a file, and a file as a function again: torch.export and ONNX. Knows nothing of units or series.

The packages that ONNX needs are an extra, imported where they are used.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from lstm_ray.errors import InputError
from lstm_ray.model.export.feeds import AHEAD, BATCH, STEPS, Feeds, Input
from lstm_ray.model.export.units import as_tensor

Answers = Callable[[Feeds], NDArray]
"""What opens a file: a graph's inputs to its answer."""


def package(name: str) -> Any:
    """One of those that ONNX needs. Raises InputError where it is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        missing = error.name or name
        raise InputError(
            f"ONNX needs the package '{missing}', of the extra 'onnx': pip install lstm-ray[onnx]"
        ) from None


def program(module: nn.Module, inputs: Sequence[Input], given: Feeds, patch: int, least: int, horizon: int) -> Any:
    """What torch.export makes of a graph, for any number of sequences and of whole patches.

    Args:
        given: two sequences at least, of more than ``least`` patches: a length that is 1, or equals another one, would be
            taken for a constant.
        least: patches of a sequence.
    """
    batch, patches = torch.export.Dim("batch", min=1), torch.export.Dim("patches", min=least)
    steps = patches if patch == 1 else patch * patches
    axes = {BATCH: batch, STEPS: steps, AHEAD: steps + horizon}
    dynamic = {
        one.name: {at: axes[size] for at, size in enumerate(one.shape) if isinstance(size, str)} for one in inputs
    }
    tensors = {one.name: as_tensor(given[one.name]) for one in inputs}
    with torch.no_grad(), quiet():
        return torch.export.export(module, (), tensors, dynamic_shapes=dynamic)


def save_torch(found: Any, file: Path) -> None:
    """Write a program as torch.export's archive. What it was traced with, which torch would pickle, is left out, as is where
    on this machine its code lay."""
    for module in found.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)
            node.meta.pop("nn_module_stack", None)
    found._example_inputs = None
    with quiet():
        torch.export.save(found, file)


def open_torch(file: Path) -> Answers:
    """A program, to be asked. It holds for the shapes that it says, so they are not checked again at every call."""
    with quiet():
        module = torch.export.load(file).module(check_guards=False)

    def answer(feeds: Feeds) -> NDArray:
        with torch.inference_mode():
            found: NDArray = module(**{name: as_tensor(values) for name, values in feeds.items()}).numpy()
        return found

    return answer


def save_onnx(found: Any, file: Path, inputs: Sequence[Input], output: str, shape: Sequence[str | int]) -> None:
    """Write a program as ONNX, its axes named. Raises InputError where a package is missing."""
    onnx, library = package("onnx"), package("onnxscript.function_libs.torch_lib.ops.core")

    def lstm(
        inputs: Any, of_input: Any, of_state: Any, input_bias: Any, state_bias: Any, hidden: Any, cell: Any, *rest: Any
    ) -> Any:
        weights = [of_input, of_state, input_bias, state_bias]
        return library.aten_lstm(inputs, [hidden, cell], weights, True, 1, 0.0, False, False, False)

    table: dict[Any, Any] = {torch.ops.aten.mkldnn_rnn_layer.default: lstm}
    with quiet():
        made = torch.onnx.export(
            found, kwargs={}, dynamo=True, verbose=False, custom_translation_table=table, output_names=[output]
        )
    assert made is not None, "dynamo answers with a program"
    model = made.model_proto
    sizes = {one.name: one.shape for one in inputs} | {output: tuple(shape)}
    for value in (*model.graph.input, *model.graph.output):
        for axis, size in zip(value.type.tensor_type.shape.dim, sizes[value.name], strict=True):
            axis.dim_param, axis.dim_value = (size, 0) if isinstance(size, str) else ("", size)
            axis.ClearField("dim_value" if isinstance(size, str) else "dim_param")
    # Shapes in between are inferred again by whoever reads the file; where code lay on this machine is nobody's business.
    del model.graph.value_info[:], model.metadata_props[:]
    for node in (*model.graph.node, *(node for function in model.functions for node in function.node)):
        del node.metadata_props[:]
        node.doc_string = ""
    onnx.checker.check_model(model)
    onnx.save(model, str(file))


def open_onnx(file: Path) -> Answers:
    """A model in onnxruntime on the CPU, with as many threads as torch has. Raises InputError where a package is missing."""
    runtime = package("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
    session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def answer(feeds: Feeds) -> NDArray:
        found: NDArray = session.run(None, feeds)[0]
        return found

    return answer


@contextmanager
def quiet() -> Iterator[None]:
    """Exporters warn, and log, of their own deprecated parts, of what they could not simplify and of packages that they could
    do without."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for module in (r"torch\.", r"onnxscript\.", r"onnx_ir\.", r"onnxruntime\.", r"copyreg", r"contextlib"):
                warnings.filterwarnings("ignore", module=module)
            yield
    finally:
        logging.disable(before)
