"""Networks trained side by side, and how much of the answer is whose. Knows nothing of what they read or answer.

Shapes: E members, each of one of K kinds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Ensemble(nn.Module):
    """Members differ in the weights they start from and in their dropout, and kinds of them in what they read: what they
    agree on is what the data says (Lakshminarayanan et al. 2017).

    In training it answers for each member that still learns, [learners, ...]. Else it answers once: with the weighted
    sum, of logits as of forecasts (a distribution's parameters too), so quantiles stay in order.
    """

    weight_E: Tensor

    def __init__(self, members: Sequence[nn.Module], kind_E: Sequence[int] | None = None) -> None:
        """``kind_E``: number of each member's kind, from 0, ascending; none: all are of one."""
        super().__init__()
        self.members = nn.ModuleList(members)
        self.kind_E = tuple(kind_E or [0] * len(members))
        self.learners = [e for e, member in enumerate(members) if learns(member)]
        """Members that training moves, by number; whoever trains says when one has learned enough."""
        self.register_buffer("weight_E", self.mean_of(range(self.kinds)))

    @property
    def kinds(self) -> int:
        return self.kind_E[-1] + 1

    @property
    def heard(self) -> list[int]:
        """Members that have a weight, by number."""
        found: list[int] = self.weight_E.nonzero().flatten().tolist()
        return found

    def mean_of(self, kinds: Sequence[int], part_K: Sequence[int] | None = None) -> Tensor:
        """Weights by which some kinds answer, each by its parts (none: all alike), and within a kind each member, [E]."""
        parts = {kind: (part_K or [1] * self.kinds)[kind] for kind in kinds}
        share_E = [parts.get(kind, 0) / (sum(parts.values()) * self.kind_E.count(kind)) for kind in self.kind_E]
        return torch.tensor(share_E)

    def forward(
        self, *inputs: Tensor | None, state: Tensor | None = None, each: Sequence[int] | None = None, **options: Any
    ) -> Any:
        """As the members are called.

        Args:
            state: with ``part``, of each that answers: of all that learn, [learners, ...]; out of training, of ``heard``.
            each: answer for each of these members, [len(each), ...], in training or not.
        """
        if "part" in options:
            read = self.learners if self.training else self.heard
            given = [None] * len(read) if state is None else list(state.unbind(0))
            found = [self.members[e](*inputs, state=one, **options) for e, one in zip(read, given, strict=True)]
            answers, after = (torch.stack(side) for side in zip(*found, strict=True))
            if self.training:
                return answers, after
            return torch.tensordot(self.weight_E[read], answers, 1), after
        if each is None and self.training:
            each = self.learners
        if each is not None:
            return torch.stack([self.members[e](*inputs, **options) for e in each])
        return sum((self.weight_E[e] * self.members[e](*inputs, **options) for e in self.heard), torch.zeros(()))

    def advance(self, *inputs: Tensor | None, state: Tensor | None = None, **options: Any) -> Tensor:
        """The state that a part leaves in each member that is ``heard``."""
        given = [None] * len(self.heard) if state is None else list(state.unbind(0))
        return torch.stack(
            [
                self.members[e].advance(*inputs, state=one, **options)  # type: ignore[operator]
                for e, one in zip(self.heard, given, strict=True)
            ]
        )


def learns(network: nn.Module) -> bool:
    """Whether there is anything in it for training to move."""
    return next(network.parameters(), None) is not None
