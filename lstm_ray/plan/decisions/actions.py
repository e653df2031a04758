"""The sequences that actions may take, and the nearest of them to any proposal. Knows bounds; knows no costs and no models.

Shapes: N plans, S steps planned, A actions, V values of one action (each held for ``every`` steps), D values of all actions
side by side, B sums of one action, n values of one sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lstm_ray.errors import InputError, not_installed
from lstm_ray.sections.decision import ActionConfig, DecisionConfig

SWEEPS = 60
"""Rounds of Dykstra's projections; what they leave of a broken constraint is taken away by moving towards a plan that keeps
them all."""
SLACK = 1e-9
"""Share of an action's range by which float64 may miss a constraint."""


@dataclass(frozen=True)
class Lever:
    """One action over the steps planned."""

    config: ActionConfig
    low_V: NDArray
    """Bounds of each value, on the grid where there is one."""
    high_V: NDArray
    low_B: NDArray
    """Bounds of what the values of each sum add up to (each held value counted once); empty where there are no sums."""
    high_B: NDArray

    def project(self, value_NV: NDArray) -> NDArray:
        """For each proposal a sequence that keeps every constraint: the nearest one where these are bounds and sums, on a grid
        the rounded one of the same sum, and under max_change one near it."""
        step, change = self.config.step, self.config.change
        near_NV = self._near(value_NV, change)
        if step is None:
            return self._pulled(near_NV)
        found_NV = self._rounded(near_NV) if len(self.low_B) else self._half_up(near_NV)
        if change is None:
            return found_NV
        tries = (
            lambda: self._half_up(near_NV),
            lambda: self._rounded(self._near(value_NV, max(change - step, 0.0))) if len(self.low_B) else found_NV,
            lambda: np.broadcast_to(self.reference, near_NV.shape),
        )
        for again in tries:
            kept_N = self.keeps(found_NV)
            if kept_N.all():
                break
            found_NV = np.where(kept_N[:, None], found_NV, again())
        return found_NV

    def keeps(self, value_NV: NDArray) -> NDArray:
        """Which sequences keep every constraint, to the last bits, bool [N]."""
        slack, change = SLACK * (self.config.high - self.config.low), self.config.change
        kept_NV = (value_NV >= self.low_V - slack) & (value_NV <= self.high_V + slack)
        kept_N: NDArray = np.all(kept_NV, axis=1)
        if change is not None:
            kept_N &= np.all(np.abs(np.diff(value_NV)) <= change + slack, axis=1)
        if len(self.low_B):
            sum_NB = self._by_sum(value_NV).sum(2)
            slack *= value_NV.shape[1]
            kept_N &= np.all((sum_NB >= self.low_B - slack) & (sum_NB <= self.high_B + slack), axis=1)
        return kept_N

    @cached_property
    def reference(self) -> NDArray:
        """A sequence [V] that keeps every constraint and changes as little as it can (max_change alone asks for one).

        Raises InputError where there is none, or SciPy, which a policy's service needs for this alone, is not installed.
        """
        try:
            from scipy.optimize import Bounds, LinearConstraint, milp
        except ModuleNotFoundError as error:
            raise not_installed(error) or error from None
        num, change, unit = len(self.low_V), self.config.change, self.config.step or 1.0
        assert change is not None, "without max_change every proposal has a nearest plan"
        # Variables: the values less low, in units of the grid, then how far all changes stay below the largest allowed.
        steps_PV = np.diff(np.eye(num), axis=0)
        ones_P1 = np.ones((num - 1, 1))
        moves = np.vstack([np.hstack([steps_PV, ones_P1]), np.hstack([-steps_PV, ones_P1])])
        rows = [LinearConstraint(moves, ub=change / unit)]
        if len(self.low_B):
            count = num // len(self.low_B)
            member = np.kron(np.eye(len(self.low_B)), np.ones(count))
            least_B, most_B = ((bound_B - count * self.config.low) / unit for bound_B in (self.low_B, self.high_B))
            slack = SLACK * count * (self.config.high - self.config.low) / unit
            rows.append(LinearConstraint(np.pad(member, ((0, 0), (0, 1))), least_B - slack, most_B + slack))
        least_V, most_V = ((bound_V - self.config.low) / unit for bound_V in (self.low_V, self.high_V))
        found = milp(
            np.append(np.zeros(num), -1.0),
            integrality=np.append(np.full(num, int(self.config.step is not None)), 0),
            bounds=Bounds(np.append(least_V, 0.0), np.append(most_V, change / unit)),
            constraints=rows,
        )
        if found.x is None:
            sums = (
                f" for sums of {_listed(self.low_B * self.config.every)} one after the other" if len(self.low_B) else ""
            )
            raise InputError(
                f"action '{self.config.name}': max_change {self.config.max_change:g} is too small{sums or ' for the bounds'}; "
                "raise it, or leave the others more room"
            )
        value_V: NDArray = found.x[:num]
        return self.config.low + unit * (value_V if self.config.step is None else np.rint(value_V))

    def _near(self, value_NV: NDArray, change: float | None) -> NDArray:
        """The nearest sequences within bounds and sums (exact), and within ``change`` (Dykstra 1983: projections onto the
        bounds with sums, onto the changes between even pairs and between odd pairs, each less what it took before)."""
        if change is None:
            return self._in_bounds(value_NV)
        sets = [lambda v: _closer(v, 0, change), lambda v: _closer(v, 1, change), self._in_bounds]
        taken = [np.zeros_like(value_NV) for _ in sets]
        for _ in range(SWEEPS):
            for i, onto in enumerate(sets):
                given_NV = value_NV + taken[i]
                value_NV = onto(given_NV)
                taken[i] = given_NV - value_NV
            if np.abs(np.diff(value_NV)).max(initial=0.0) <= change + SLACK * (self.config.high - self.config.low):
                break
        return value_NV

    def _in_bounds(self, value_NV: NDArray) -> NDArray:
        """The nearest sequences within bounds whose sums are, too: all values of a sum shifted alike, then clipped."""
        found_NV = np.clip(value_NV, self.low_V, self.high_V)
        if not len(self.low_B):
            return found_NV
        sum_NB = self._by_sum(found_NV).sum(2)
        wanted_NB = np.clip(sum_NB, self.low_B, self.high_B)
        if (sum_NB == wanted_NB).all():
            return found_NV
        low_Bn, high_Bn = self._by_sum(self.low_V[None])[0], self._by_sum(self.high_V[None])[0]
        value_NBn = self._by_sum(value_NV)
        shift_NB1 = _shift(value_NBn, low_Bn, high_Bn, wanted_NB)[:, :, None]
        shifted_NBn = np.clip(value_NBn + shift_NB1, low_Bn, high_Bn)
        wrong_NB1 = (sum_NB != wanted_NB)[:, :, None]
        return np.where(wrong_NB1, shifted_NBn, self._by_sum(found_NV)).reshape(value_NV.shape)

    def _rounded(self, value_NV: NDArray) -> NDArray:
        """On the grid, by largest remainder: each sum becomes the nearest that the grid and its bounds allow."""
        low, step = self.config.low, self.config.step
        assert step is not None, "there is no grid"
        unit_NBn, top_Bn = (self._by_sum(value_NV) - low) / step, self._by_sum(self.high_V[None])[0] / step - low / step
        base_NBn = np.floor(unit_NBn + SLACK)
        count = unit_NBn.shape[2]
        least_B, most_B = ((bound_B - count * low) / step for bound_B in (self.low_B, self.high_B))
        tiny = 1e-6
        whole_NB = np.clip(np.rint(unit_NBn.sum(2)), np.ceil(least_B - tiny), np.floor(most_B + tiny))
        # A value at the top has no remainder, so it is raised last: never, for sums lie within what the bounds add up to.
        rest_NBn = np.where(base_NBn >= top_Bn - 0.5, -1.0, unit_NBn - base_NBn)
        rank_NBn = np.argsort(np.argsort(-rest_NBn, axis=2, kind="stable"), axis=2)
        raised_NBn = base_NBn + (rank_NBn < (whole_NB - base_NBn.sum(2))[:, :, None])
        return low + step * raised_NBn.reshape(value_NV.shape)

    def _half_up(self, value_NV: NDArray) -> NDArray:
        """On the grid, all values rounded by one rule, so that none moves further from its neighbours than the grid allows."""
        low, step = self.config.low, self.config.step
        assert step is not None, "there is no grid"
        return np.clip(low + step * np.floor(np.round((value_NV - low) / step, 9) + 0.5), self.low_V, self.high_V)

    def _pulled(self, value_NV: NDArray) -> NDArray:
        """Sequences whose changes are a little too large, moved towards the reference until none is: the set is convex."""
        change = self.config.change
        if change is None or (kept_N := self.keeps(value_NV)).all():
            return value_NV
        found_NV = value_NV.copy()
        move_NV, by_V = np.diff(value_NV[~kept_N]), np.diff(self.reference)
        sign_NV = np.sign(move_NV)
        with np.errstate(divide="ignore", invalid="ignore"):
            share_NV = (change - sign_NV * by_V) / (np.abs(move_NV) - sign_NV * by_V)
        share_N1 = np.where(np.abs(move_NV) > change, share_NV, 1.0).min(1, keepdims=True)
        found_NV[~kept_N] = self.reference + share_N1 * (value_NV[~kept_N] - self.reference)
        return found_NV

    def _by_sum(self, value_NV: NDArray) -> NDArray:
        """[N, V] -> [N, B, n]"""
        num = len(self.low_B)
        return value_NV.reshape(len(value_NV), num, value_NV.shape[1] // num)


@dataclass(frozen=True)
class Space:
    """Every plan that keeps its constraints, as numbers to search in: [D], each action's held values after the other's."""

    levers: list[Lever]
    steps: int

    @property
    def names(self) -> list[str]:
        return [lever.config.name for lever in self.levers]

    @cached_property
    def ends(self) -> NDArray:
        """Where each action's values end, int64 [A]."""
        return np.cumsum([len(lever.low_V) for lever in self.levers])

    @cached_property
    def bounds(self) -> tuple[NDArray, NDArray]:
        """Least and largest value, [D] each."""
        return np.concatenate([le.low_V for le in self.levers]), np.concatenate([le.high_V for le in self.levers])

    def project(self, flat_ND: NDArray) -> NDArray:
        """Proposals as plans that keep every constraint."""
        parts = np.split(flat_ND, self.ends[:-1], axis=1)
        return np.concatenate([le.project(part) for le, part in zip(self.levers, parts, strict=True)], axis=1)

    def plans(self, flat_ND: NDArray) -> NDArray:
        """[N, D] -> [N, S, A]: each value held for as long as it holds."""
        parts = np.split(flat_ND, self.ends[:-1], axis=1)
        held = [p.repeat(le.config.every, 1)[:, : self.steps] for le, p in zip(self.levers, parts, strict=True)]
        return np.stack(held, axis=2)

    def flat(self, plan_NSA: NDArray) -> NDArray:
        """[N, S, A] -> [N, D]: the mean of the steps that share a value."""
        actions = [lever.config for lever in self.levers]
        return np.concatenate([_held(plan_NSA[:, :, a], one.every) for a, one in enumerate(actions)], axis=1)

    def nearest(self, plan_SA: NDArray) -> NDArray:
        """The plan [S, A] that keeps every constraint near any one."""
        return self.plans(self.project(self.flat(plan_SA[None])))[0]

    def differ(self, one_SA: NDArray, other_SA: NDArray) -> NDArray:
        """Where two plans differ by more than rounding, bool [S, A]."""
        widths = np.array([le.config.high - le.config.low for le in self.levers])
        return np.abs(one_SA - other_SA) > 1e-6 * widths


def space_of(decision: DecisionConfig, data_SA: NDArray) -> Space:
    """The plans that are allowed, where the data holds ``data_SA`` (0 where it holds nothing).

    Raises:
        InputError: no plan keeps every constraint.
    """
    levers = []
    for a, action in enumerate(decision.actions):
        low_V, high_V = _bounds(action, data_SA[:, a])
        lever = Lever(action, low_V, high_V, *_sums(action, data_SA[:, a], low_V, high_V))
        if action.change is not None and len(low_V) > 1:
            assert lever.reference is not None, "there is one, or it is told now"
        levers.append(lever)
    return Space(levers, len(data_SA))


def _bounds(action: ActionConfig, data_S: NDArray) -> tuple[NDArray, NDArray]:
    """Bounds of each held value, [V] each; where the data itself lies outside of low and high, the nearer of the two."""
    data_V = _held(data_S[None], action.every)[0]
    if action.within is None:
        return np.full(len(data_V), action.low), np.full(len(data_V), action.top)
    reach_V = action.within * np.abs(data_V)
    low_V, high_V = (np.clip(end_V, action.low, action.top) for end_V in (data_V - reach_V, data_V + reach_V))
    if action.step is None:
        return low_V, high_V
    unit_V = np.clip((data_V - action.low) / action.step, 0, action.num_grid)
    least_V, most_V = (
        np.ceil((low_V - action.low) / action.step - SLACK),
        np.floor((high_V - action.low) / action.step + SLACK),
    )
    # Where no step of the grid lies so near the data, the nearest one does.
    least_V, most_V = (np.where(least_V > most_V, np.rint(unit_V), end_V) for end_V in (least_V, most_V))
    return action.low + action.step * least_V, action.low + action.step * most_V


def _sums(action: ActionConfig, data_S: NDArray, low_V: NDArray, high_V: NDArray) -> tuple[NDArray, NDArray]:
    """Bounds of what the values of each sum add up to, [B] each. Raises InputError where the values' bounds forbid it."""
    if action.sum is None:
        return np.empty(0), np.empty(0)
    every, num = action.every, len(data_S) // action.sum.steps
    least_B, most_B = (end_V.reshape(num, -1).sum(1) for end_V in (low_V, high_V))
    if action.sum.keep:
        low_B = data_S.reshape(num, -1).sum(1) / every
        if action.step is not None:
            grid_B = len(low_V) // num * action.low
            low_B = grid_B + action.step * np.rint((low_B - grid_B) / action.step)
        high_B = low_B
    else:
        low_B = least_B if action.sum.low is None else np.full(num, action.sum.low / every)
        high_B = most_B if action.sum.high is None else np.full(num, action.sum.high / every)
    slack = SLACK * (action.high - action.low) * len(low_V)
    wrong_B = (low_B > most_B + slack) | (high_B < least_B - slack)
    if wrong_B.any():
        b = int(wrong_B.argmax())
        asked = "the data's own sum" if action.sum.keep else "sum.low" if low_B[b] > most_B[b] else "sum.high"
        bound = (high_B if asked == "sum.high" else low_B)[b] * every
        raise InputError(
            f"action '{action.name}': {asked} over {action.sum.steps} steps, {bound:.6g}, cannot be met: low, high and within "
            f"let these steps add up to {least_B[b] * every:.6g} at least and {most_B[b] * every:.6g} at most; widen them"
            + (", or give sum.low and sum.high instead of keep" if action.sum.keep else "")
        )
    return np.clip(low_B, least_B, most_B), np.clip(high_B, least_B, most_B)


def _held(value_NS: NDArray, every: int) -> NDArray:
    """The mean of the steps that share a value, [N, V]."""
    steps = value_NS.shape[1]
    first_V = np.arange(0, steps, every)
    mean_NV: NDArray = np.add.reduceat(value_NS, first_V, axis=1) / np.diff(np.append(first_V, steps))
    return mean_NV


def _shift(value_NBn: NDArray, low_Bn: NDArray, high_Bn: NDArray, wanted_NB: NDArray) -> NDArray:
    """The shift after which clipped values add up to what is wanted, [N, B]. Their sum is piecewise linear in it: each value
    begins to count where it leaves its lower bound, and ceases where it reaches the upper one."""
    bend_NBk = np.concatenate([low_Bn - value_NBn, high_Bn - value_NBn], axis=2)
    order_NBk = np.argsort(bend_NBk, axis=2)
    bend_NBk = np.take_along_axis(bend_NBk, order_NBk, axis=2)
    slope_NBk = np.cumsum(np.where(order_NBk < value_NBn.shape[2], 1, -1), axis=2)
    rise_NBk = np.diff(bend_NBk, axis=2) * slope_NBk[:, :, :-1]
    least_NB1 = np.broadcast_to(low_Bn.sum(1)[:, None], (len(value_NBn), len(low_Bn), 1))
    sum_NBk = np.concatenate([least_NB1, least_NB1 + np.cumsum(rise_NBk, axis=2)], axis=2)
    last_NB1 = np.maximum((sum_NBk <= wanted_NB[:, :, None]).sum(2, keepdims=True) - 1, 0)
    bend_NB, slope_NB, sum_NB = (
        np.take_along_axis(v, last_NB1, axis=2)[:, :, 0] for v in (bend_NBk, slope_NBk, sum_NBk)
    )
    return bend_NB + (wanted_NB - sum_NB) / np.maximum(slope_NB, 1)


def _closer(value_NV: NDArray, first: int, change: float) -> NDArray:
    """The nearest sequences in which the pairs from ``first`` on lie at most ``change`` apart."""
    found_NV = value_NV.copy()
    end = first + (value_NV.shape[1] - first) // 2 * 2
    one_NP, other_NP = found_NV[:, first:end:2], found_NV[:, first + 1 : end : 2]
    gap_NP = other_NP - one_NP
    over_NP = np.sign(gap_NP) * np.maximum(np.abs(gap_NP) - change, 0) / 2
    one_NP += over_NP
    other_NP -= over_NP
    return found_NV


def _listed(values: Sequence[float] | NDArray) -> str:
    return ", ".join(f"{value:.6g}" for value in values[:5]) + (", ..." if len(values) > 5 else "")
