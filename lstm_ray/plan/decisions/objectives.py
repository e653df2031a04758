"""What futures cost under the actions planned. Knows columns and prices; knows no search and no models.

Shapes: N plans, W paths, S steps, C targets, A actions, K known columns of the table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray.errors import InputError
from lstm_ray.sections.decision import DecisionConfig, TermConfig

Own = Callable[[NDArray, NDArray, NDArray], NDArray]
"""futures_WSC, actions_SA, known_SK -> cost of each path [W]."""


@dataclass(frozen=True)
class Objective:
    """The sum of the terms, and how it is judged over paths."""

    decision: DecisionConfig
    targets: Sequence[str]
    known: Sequence[str]

    def costs(self, futures_NWSC: NDArray, plan_NSA: NDArray, known_NSK: NDArray) -> NDArray:
        """Cost of each path of each plan, float64 [N, W].

        Raises:
            InputError: a term is not finite, or has another shape; it is named.
        """
        total_NW = np.zeros(futures_NWSC.shape[:2])
        for term in self.decision.objective:
            with np.errstate(over="ignore", invalid="ignore"):  # told below, with the term's name
                cost_NW = self._term(term, futures_NWSC.astype(np.float64), plan_NSA, known_NSK)
            if not np.isfinite(cost_NW).all():
                n, w = np.argwhere(~np.isfinite(cost_NW))[0]
                raise InputError(
                    f"plan.decision: term '{term.words}' is {cost_NW[n, w]} on a sampled future; a cost must be a finite number"
                )
            total_NW += term.weight * cost_NW
        return total_NW

    def risk(self, cost_NW: NDArray) -> NDArray:
        """What costs are judged by over their last axis: their mean, or the mean of the worst share of them, [N]."""
        return risk(cost_NW, self.decision.cvar)

    def _term(self, term: TermConfig, futures: NDArray, plan: NDArray, known: NDArray) -> NDArray:
        if term.kind == "own":
            return _own_costs(term, futures, plan, known)
        value_NWS = self._column(term.column or self.targets[0], futures, plan)
        if term.kind == "cost":
            return (self._ahead(term.price, known) * value_NWS).sum(2)
        if term.kind == "threshold":
            above, below = (
                (np.inf if term.above is None else term.above),
                (-np.inf if term.below is None else term.below),
            )
            return (np.maximum(value_NWS - above, 0) + np.maximum(below - value_NWS, 0)).sum(2)
        if term.kind == "track":
            return ((value_NWS - self._ahead(term.reference, known)) ** 2).sum(2)
        much_NWS = self._column(term.supply or "", futures, plan) - value_NWS
        return ((term.over or 0.0) * np.maximum(much_NWS, 0) + (term.under or 0.0) * np.maximum(-much_NWS, 0)).sum(2)

    def _column(self, name: str, futures: NDArray, plan: NDArray) -> NDArray:
        """A target or an action, [N, W, S]."""
        actions = [action.name for action in self.decision.actions]
        if name in actions:
            return np.repeat(plan[:, None, :, actions.index(name)], futures.shape[1], axis=1)
        return futures[..., list(self.targets).index(name)]

    def _ahead(self, value: float | str | None, known: NDArray) -> NDArray:
        """A number, or a known column, [N, 1, S]."""
        if isinstance(value, str):
            return known[:, None, :, list(self.known).index(value)]
        assert value is not None, "the section says so"
        return np.full((1, 1, 1), value)


def risk(cost_NW: NDArray, cvar: float | None) -> NDArray:
    """The mean over paths; or conditional value at risk, the mean of the worst share ``cvar`` of them, which is the least of
    t + mean(max(cost - t, 0)) / cvar over t (Rockafellar and Uryasev 2000): a path may count in part."""
    if cvar is None:
        return cost_NW.mean(-1)
    num = cost_NW.shape[-1]
    weight_W = np.clip(cvar * num - np.arange(num), 0, 1) / (cvar * num)
    return np.sort(cost_NW, axis=-1)[..., ::-1] @ weight_W


def require_usable(decision: DecisionConfig, targets: Sequence[str], known: Sequence[str], steps: int) -> None:
    """Try the objective's own functions, if there are any, on a few made-up futures.

    Raises:
        InputError: one cannot be imported or called, or returns another shape or what is not finite.
    """
    random = np.random.default_rng(0)
    futures = random.normal(size=(1, 3, steps, len(targets)))
    low, high = ([getattr(action, end) for action in decision.actions] for end in ("low", "top"))
    plan, ahead = random.uniform(low, high, size=(1, steps, len(low))), random.normal(size=(1, steps, len(known)))
    for term in decision.objective:
        if term.kind == "own" and not np.isfinite(cost_NW := _own_costs(term, futures, plan, ahead)).all():
            raise InputError(
                f"plan.decision: term '{term.words}' is {cost_NW[~np.isfinite(cost_NW)][0]} on made-up futures of "
                f"{futures.shape[1:]}; a cost must be a finite number"
            )


def _own_costs(term: TermConfig, futures: NDArray, plan: NDArray, known: NDArray) -> NDArray:
    """[N, W] of the user's function, called for one plan at a time."""
    assert term.function is not None, "the section says so"
    own, found = own_function(term.function), []
    # A function that writes into what it is given would change the futures and plans of all that comes after it.
    held = [_read_only(given) for given in (futures, plan, known)]
    for one in zip(*held, strict=True):
        try:
            given: Any = np.asarray(own(*one))
            cost: Any = None if np.iscomplexobj(given) else given.astype(np.float64)
        except (Exception, SystemExit) as error:
            shapes = " and ".join(str(given.shape) for given in one)
            raise InputError(
                f"plan.decision: term '{term.words}' raises {type(error).__name__}: {error} on arrays of {shapes}; mend it"
            ) from None
        if cost is None:
            raise InputError(f"plan.decision: term '{term.words}' returns complex numbers; a cost must be a real one")
        if cost.shape != futures.shape[1:2]:
            raise InputError(
                f"plan.decision: term '{term.words}' returns shape {cost.shape} for {futures.shape[1]} paths; return the cost "
                f"of each path, {futures.shape[1:2]}"
            )
        found.append(cost)
    return np.stack(found)


def _read_only(values: NDArray) -> NDArray:
    view = values.view()
    view.flags.writeable = False
    return view


@cache
def own_function(path: str) -> Own:
    """The user's ``package.module:function``. Raises InputError where it cannot be had."""
    module, _, function = path.partition(":")
    try:
        found = getattr(import_module(module), function, None)
    # Whatever the user's module raises, its import is what failed.
    except Exception as error:
        raise InputError(
            f"plan.decision: term 'own of {path}': '{module}' cannot be imported: {type(error).__name__}: {error}; install it "
            "in this environment, or put its folder on PYTHONPATH"
        ) from None
    if not callable(found):
        raise InputError(
            f"plan.decision: term 'own of {path}': '{module}' has no function '{function}', found {found!r}; name one that "
            "takes futures_WSC, actions_SA and known_SK"
        )
    return found
