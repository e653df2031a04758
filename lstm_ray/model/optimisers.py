"""Steps along gradients: the optimisers, how gradients are clipped and watched, and what is said when a step fails."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lstm_ray.config import Config
from lstm_ray.errors import InputError
from lstm_ray.sections.train import TrainConfig

MOMENTUM = 0.9
WATCHED = 64
"""Steps between looks at a GPU's losses and norms: reading a number makes the processor wait for the device."""
OUT_OF_MEMORY = ("DefaultCPUAllocator", "not enough memory", "out of memory", "ALLOC_FAILED")
"""What torch's RuntimeErrors say where memory ran out; they have no type of their own but on a GPU."""


def make_optimiser(network: nn.Module, train: TrainConfig) -> torch.optim.Optimizer:
    """The configured optimiser, one fused kernel a step.

    ``adamw`` decouples the decay from the gradient (Loshchilov & Hutter 2019); ``adam`` and ``sgd`` add it to the gradient.
    """
    weights, rate, decay = network.parameters(), train.learning_rate, train.weight_decay
    if train.optimiser == "adamw":
        return torch.optim.AdamW(weights, lr=rate, weight_decay=decay, fused=True)
    if train.optimiser == "adam":
        return torch.optim.Adam(weights, lr=rate, weight_decay=decay, fused=True)
    return torch.optim.SGD(weights, lr=rate, weight_decay=decay, momentum=MOMENTUM, nesterov=True, fused=True)


class Gradients:
    """The gradients of an epoch's steps: clipped, and watched for the first that is not finite.

    Args:
        networks: bare; those whose weights are moved, each clipped by itself.
        epoch: its number, for the message.
    """

    def __init__(self, networks: Sequence[nn.Module], config: Config, epoch: int) -> None:
        weights = [[weight for weight in network.parameters() if weight.requires_grad] for network in networks]
        self._weights, self._config, self._epoch = [some for some in weights if some], config, epoch
        self._norms: list[Tensor] = []
        self._sums: list[Tensor] = []
        self._seen = 0

    @property
    def steps(self) -> int:
        return len(self._norms)

    @property
    def norms(self) -> Tensor:
        """Norm of every step's gradient before clipping, the largest of the networks'."""
        return torch.stack(self._norms)

    def clip(self, sums: Tensor) -> None:
        """Shorten the gradients to ``train.clip_norm``; remember their norm and a step's sums of loss and weight, [2].

        Raises:
            InputError: the loss or the norm is not finite; on a GPU some steps later.
        """
        most = self._config.train.clip_norm
        norms = [nn.utils.clip_grad_norm_(weights, most, foreach=True) for weights in self._weights]
        self._norms.append(torch.stack(norms).amax())
        self._sums.append(sums)
        if sums.device.type == "cpu" or self.steps - self._seen == WATCHED:
            self._look()

    def finish(self) -> Tensor:
        """Sums of loss and weight over the epoch, [2]. Raises InputError as ``clip`` does."""
        self._look()
        return torch.stack(self._sums).sum(0)

    def _look(self) -> None:
        new = slice(self._seen, self.steps)
        norms, losses = torch.stack(self._norms[new] or [torch.zeros(())]), [float(s[0]) for s in self._sums[new]]
        for step, (norm, loss) in enumerate(zip(norms.tolist(), losses, strict=False), self._seen):
            if not (math.isfinite(norm) and math.isfinite(loss)):
                raise InputError(
                    f"training diverged at epoch {self._epoch}, step {step}: the gradient's norm is {norm} and the loss "
                    f"{loss}; {lower_the_rate(self._config)}"
                )
        self._seen = self.steps


def lower_the_rate(config: Config) -> str:
    train = config.train
    return f"lower train.learning_rate (now {train.learning_rate:g}) or train.clip_norm (now {train.clip_norm:g})"


def is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        words in str(error) for words in OUT_OF_MEMORY
    )


@contextmanager
def memory_named(config: Config) -> Iterator[None]:
    """Where memory runs out inside, say which settings to blame. Raises InputError then."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        text = str(error)
        if not is_out_of_memory(error):
            raise
        train, window = config.train, config.window
        smaller = ["train.batch", "window.history"]
        steps = window.history
        if config.task == "forecast":
            steps += (train.origins - 1) * window.patch + window.horizon
            smaller = ["train.batch", f"train.origins (now {train.origins})", "train.truncate_steps"]
        raise InputError(
            f"a batch does not fit into memory: train.batch {train.batch}, each sequence up to {steps} steps; lower "
            f"{', '.join(smaller)}, or raise train.accumulate (now {train.accumulate}): {text.splitlines()[0][:120]}"
        ) from None
