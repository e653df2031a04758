"""Losses, one number for each value forecast or sequence classified. Knows nothing of networks, weights or sums.

Shapes: B sequences, N origins, H horizon, C targets, Q quantiles, K classes. Whoever calls weighs the losses, adds them up
and divides once, after all workers have added theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module

import torch
from torch import Tensor
from torch.nn import functional

from lstm_ray.config import Config
from lstm_ray.data.windows import IGNORED
from lstm_ray.errors import InputError

Loss = Callable[[Tensor, Tensor], Tensor]
"""A loss of the user's: (forecast_BNHC, actual_BNHC) to [B, N, H, C], or (logits_BK, label_B) to [B]. Of labels of steps,
B are the labelled steps of a batch; where they are values, each is a forecast [B, 1, 1, 1]."""


def forecast_loss(config: Config, forecast_BNHCQ: Tensor, actual_BNHC: Tensor, quantiles: list[float]) -> Tensor:
    """Loss of every value, [B, N, H, C], from forecasts (not from a distribution's parameters).

    ``pinball`` is twice the mean over quantiles (Koenker & Bassett 1978), so that at the median alone it is the MAE.
    ``huber`` is quadratic up to ``train.huber_delta`` and linear beyond (Huber 1964).
    """
    name = config.loss
    if name == "pinball":
        error_BNHCQ = actual_BNHC[..., None] - forecast_BNHCQ
        q = torch.tensor(quantiles, device=forecast_BNHCQ.device)
        return 2 * torch.maximum(q * error_BNHCQ, (q - 1) * error_BNHCQ).mean(-1)
    forecast_BNHC = forecast_BNHCQ[..., quantiles.index(0.5)]
    if name == "mae":
        return functional.l1_loss(forecast_BNHC, actual_BNHC, reduction="none")
    if name == "mse":
        return functional.mse_loss(forecast_BNHC, actual_BNHC, reduction="none")
    if name == "huber":
        return functional.huber_loss(forecast_BNHC, actual_BNHC, reduction="none", delta=config.train.huber_delta)
    if ":" not in name:
        raise ValueError(f"loss '{name}' does not fit a forecast")
    return own_loss(name)(forecast_BNHC, actual_BNHC)


def value_loss(config: Config, told_M: Tensor, label_M: Tensor) -> Tensor:
    """Loss of every labelled step, [M], from scaled values."""
    return forecast_loss(config, told_M[:, None, None, None, None], label_M[:, None, None, None], [0.5])[:, 0, 0, 0]


def class_loss(config: Config, logits_BK: Tensor, label_B: Tensor) -> Tensor:
    """Loss of every sequence, [B]; those labelled IGNORED lose nothing.

    ``focal`` discounts a sequence by (1 - p)^gamma of its class's probability p (Lin et al. 2017).
    """
    name = config.loss
    if name == "cross_entropy":
        return functional.cross_entropy(logits_BK, label_B, reduction="none", ignore_index=IGNORED)
    if name == "focal":
        loss_B = functional.cross_entropy(logits_BK, label_B, reduction="none", ignore_index=IGNORED)
        # 1 - p as expm1 of the log-likelihood: exact where p is all but 1.
        return (-torch.expm1(-loss_B)).pow(config.train.focal_gamma) * loss_B
    if ":" not in name:
        raise ValueError(f"loss '{name}' does not fit a class")
    counted_B = label_B != IGNORED
    return own_loss(name)(logits_BK, label_B.where(counted_B, 0)).where(counted_B, 0.0)


@cache
def own_loss(path: str) -> Loss:
    """The user's ``package.module:function``. Raises InputError where it cannot be had."""
    module, _, function = path.partition(":")
    try:
        found = getattr(import_module(module), function, None)
    # Whatever the user's module raises, its import is what failed.
    except Exception as error:
        raise InputError(
            f"train.loss '{path}': '{module}' cannot be imported: {type(error).__name__}: {error}; install it in this "
            "environment, or put its folder on PYTHONPATH"
        ) from None
    if not callable(found):
        raise InputError(
            f"train.loss '{path}': '{module}' has no function '{function}', found {found!r}; "
            "name one that takes a forecast and the truth"
        )
    return found


def require_usable(config: Config) -> None:
    """Try the user's loss, if there is one, on a few numbers.

    Raises:
        InputError: it cannot be imported or called, or returns another shape, or nothing that has a gradient.
    """
    path = config.loss
    if ":" not in path:
        return
    if config.answers == "values":
        answer, truth = torch.zeros(2, 3, 4, 1, requires_grad=True), torch.ones(2, 3, 4, 1)
    else:
        answer, truth = torch.zeros(4, 2, requires_grad=True), torch.tensor([0, 1, 0, 1])
    wanted = tuple(truth.shape)
    try:
        loss = own_loss(path)(answer, truth)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"train.loss '{path}' raises {type(error).__name__}: {error} on tensors of {tuple(answer.shape)} and "
            f"{tuple(truth.shape)}; mend it"
        ) from None
    found = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
    if found != wanted:
        raise InputError(
            f"train.loss '{path}' returns {found} for a truth of {tuple(truth.shape)}; return the loss of each element, "
            f"a tensor of {wanted}, neither summed nor averaged"
        )
    if not loss.requires_grad:
        raise InputError(
            f"train.loss '{path}' returns a loss without a gradient; compute it by torch from its first argument"
        )
