"""What validation decides after every epoch: who of an ensemble answers, and how much of it is a closed form's.

Knows one process; sums over workers only through ``add_up``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lstm_ray.data.windows import Batch
from lstm_ray.errors import InputError
from lstm_ray.model.ensemble import learns
from lstm_ray.model.highway import SHARES
from lstm_ray.model.network import Ensemble, Forecaster, single
from lstm_ray.model.objective import Lesson, Objective
from lstm_ray.model.optimisers import lower_the_rate, memory_named

MARGIN = 0.03
"""How much better validation must be before a part of the answer is left out. What a short stretch tells apart by less is
mostly luck: the plain mean of forecasts is hard to beat (Bates & Granger 1969)."""
TEMPERATURES = (0.0, 0.1, 0.25, 0.5, 1.0)
SHARPNESS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0)
"""What logits of a kind are multiplied by, 0: not heard. Networks are too sure of themselves (Guo et al. 2017); a ridge on
classes of 0 and 1 gives no logits at all."""
Sum = Callable[[Tensor], Tensor]
"""Adds a tensor up over all processes."""


@dataclass(frozen=True)
class Choice:
    """One way to answer."""

    share: float
    """What plain ridges have of the answers of those that hold one."""
    weight_E: tuple[float, ...]
    """Of the members."""


@dataclass(frozen=True)
class Scores:
    """How validation likes each choice, and each member alone."""

    sums: dict[Choice, Tensor]
    """Of loss and its weight, of the metric and its count, [4]."""
    offered: list[Choice]
    """The choices, the one to be preferred first."""
    alone: list[Choice]
    """Each member by itself."""
    margin: float

    def loss(self, choice: Choice) -> float:
        return float(self.sums[choice][0] / self.sums[choice][1])

    def metric(self, choice: Choice) -> float:
        return float(self.sums[choice][2] / self.sums[choice][3])

    @property
    def member_losses(self) -> list[float]:
        return [self.loss(choice) for choice in self.alone]

    def best(self) -> Choice:
        """The first that no other beats by more than the margin."""
        least = min(self.loss(choice) for choice in self.offered)
        return next(one for one in self.offered if self.loss(one) <= least + self.margin * abs(least))


def choices(network: nn.Module, task: str) -> list[Choice]:
    """The ways in which a network may answer, the one to be preferred first."""
    shares = SHARES if _mixed(network) else (0.0,)
    if not isinstance(network, Ensemble):
        return [Choice(share, (1.0,)) for share in shares]
    if task == "classify":
        return [Choice(0.0, tuple(weight_E)) for weight_E in _tempered(network)]
    holds_K = {network.kind_E[e]: bool(_mixed(one)) for e, one in enumerate(single(network))}
    some_or_all = [range(network.kinds), *([kind] for kind in range(network.kinds) if network.kinds > 1)]
    found = []
    for share in shares:
        # Half a network's answer for its plain ridge, and that network twice the weight: all forecasters count alike.
        part_K = [2 if share and holds_K[kind] else 1 for kind in range(network.kinds)]
        for kinds in some_or_all:
            # Where nobody that is heard holds a plain ridge, its share makes no other answer.
            if share == shares[0] or any(holds_K[kind] for kind in kinds):
                found.append(Choice(share, tuple(network.mean_of(kinds, part_K).tolist())))
    return found


def score(objective: Objective, batches: Iterable[Batch], add_up: Sum = lambda sums: sums) -> Scores:
    """Read the validation part once and score every choice; leaves the network's own untouched.

    Raises:
        InputError: nothing was observed, a loss is not finite, or a batch does not fit into memory.
    """
    network, task = objective.network, objective.config.task
    offered, members = choices(network, task), range(len(single(network)))
    shares = list(dict.fromkeys(choice.share for choice in offered))
    alone = [
        Choice(0.0 if _mixed(one) else shares[0], tuple(float(e == own) for e in members))
        for own, one in enumerate(single(network))
    ]
    wanted = list(dict.fromkeys([*offered, *alone]))
    before = _settings(network)
    objective.called.eval()
    sums = torch.zeros(len(wanted), 4, device=objective.device)
    with torch.inference_mode(), memory_named(objective.config):
        for batch in batches:
            lesson = objective.lesson(batch).unweighted()
            answers = _answers(objective, lesson, shares)
            for row, choice in zip(sums, wanted, strict=True):
                row += objective.sums_of(_mean(answers[choice.share], choice.weight_E), lesson)
    for buffer, value in before:
        buffer.copy_(value)
    sums = add_up(sums)
    found = Scores(
        dict(zip(wanted, sums, strict=True)), offered, alone, 0.0 if task == "classify" and len(members) > 1 else MARGIN
    )
    require_scored(sums[0], objective)
    return found


def require_scored(sums: Tensor, objective: Objective) -> None:
    """Raises InputError where the sums [4] of a part say that nothing was observed or that the loss is not finite."""
    if not sums[1] > 0:
        raise InputError("the validation part has no observed value to score; move split.validation or fill its gaps")
    if not torch.isfinite(sums[0]):
        raise InputError(
            f"training diverged: the validation loss is {float(sums[0])}; {lower_the_rate(objective.config)}"
        )


def apply(network: nn.Module, choice: Choice) -> None:
    """Let the network answer so from now on."""
    for buffer in _mixed(network):
        buffer.fill_(choice.share)
    if isinstance(network, Ensemble):
        network.weight_E.copy_(torch.tensor(choice.weight_E))


def _tempered(network: Ensemble) -> list[list[float]]:
    """Weights of members whose kinds are heard at every combination of temperatures; the mean of all as they are first."""
    learned = {kind for kind, member in zip(network.kind_E, network.members, strict=True) if learns(member)}
    scales = [TEMPERATURES if kind in learned else SHARPNESS for kind in range(network.kinds)]
    found = [network.mean_of(range(network.kinds)).tolist()]
    for scale_K in itertools.product(*scales):
        if any(scale_K):
            found.append([scale_K[kind] / network.kind_E.count(kind) for kind in network.kind_E])
    return found


def _answers(objective: Objective, lesson: Lesson, shares: Sequence[float]) -> dict[float, list[Tensor]]:
    """Each member's answer at each share of its closed form; those without one are asked once."""
    network, found = objective.network, {}
    holders = [e for e, one in enumerate(single(network)) if _mixed(one)]
    answers: list[Tensor] = []
    for share in shares:
        for buffer in _mixed(network):
            buffer.fill_(share)
        asked = holders if answers else range(len(single(network)))
        told = (
            objective.answer(lesson, each=asked).unbind(0)
            if isinstance(network, Ensemble)
            else [objective.answer(lesson)]
        )
        answers = list(answers or told)
        for e, answer in zip(asked, told, strict=True):
            answers[e] = answer
        found[share] = answers
    return found


def _mean(answers: list[Tensor], weight_E: Sequence[float]) -> Tensor:
    heard = [(weight, answer) for weight, answer in zip(weight_E, answers, strict=True) if weight]
    if len(heard) == 1 and heard[0][0] == 1:
        return heard[0][1]
    return sum((weight * answer for weight, answer in heard), torch.zeros(()))


def _mixed(network: nn.Module) -> list[Tensor]:
    """The shares of closed forms that are averaged in."""
    return [
        one.highway.share
        for one in single(network)
        if isinstance(one, Forecaster) and one.highway is not None and one.highway.kind == "average"
    ]


def _settings(network: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Every buffer that a choice may change, with its value now."""
    buffers = [*_mixed(network), *([network.weight_E] if isinstance(network, Ensemble) else [])]
    return [(buffer, buffer.clone()) for buffer in buffers]
