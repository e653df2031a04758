"""Labels of steps: which sequences tell them, and how these are cut. NumPy alone: knows nothing of files, torch or Ray.

A sequence reads up to a history of steps to warm up and then tells some patches of steps; together, sequences tell every
step of a part once. Shapes: R rows, S segments, M sequences or steps, B sequences of a batch, T steps, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.parts import Boundaries, Part
from lstm_ray.data.windows import Batch, Segments, numbered, read_rows
from lstm_ray.sections.prepare import WindowConfig

PHASE = 0.382
"""Share of a patch by which a training sequence's patches lie off those of the one before: what the golden section leaves,
so that few sequences spread over all the ways in which patches may lie."""


@dataclass(frozen=True)
class StepPlan:
    """Which rows every sequence reads, and which of them it tells."""

    row_M5: NDArray
    """int64: first told row and the one after the last; first row read, which may lie before the first that may be; and
    the first row that may be read and the one after the last."""
    steps: int
    """T: steps of a sequence, whole patches."""
    patch: int

    def __len__(self) -> int:
        return len(self.row_M5)

    def told(self, labelled_R: NDArray) -> StepPlan:
        """The sequences that tell at least one labelled row."""
        count_R = np.concatenate([[0], np.cumsum(labelled_R)])
        return replace(self, row_M5=self.row_M5[count_R[self.row_M5[:, 1]] > count_R[self.row_M5[:, 0]]])


def step_ranges(segments: Segments, bounds: Boundaries, part: Part) -> NDArray:
    """First and after-last row of each segment in a part, int64 [S, 2]; none of series dealt to another."""
    part_first, part_end = bounds[part]
    start, end = segments.bounds[:-1], segments.bounds[1:]
    first = np.clip(start - segments.first_step + part_first, start, end)
    end = np.where(segments.held_by(part), np.clip(start - segments.first_step + part_end, first, end), first)
    return np.stack([first, end], axis=1)


def rows_in(segments: Segments, bounds: Boundaries, part: Part) -> NDArray:
    """Which rows lie in a part, bool [R]."""
    range_S2 = step_ranges(segments, bounds, part)
    held_S2 = range_S2[range_S2[:, 1] > range_S2[:, 0]]
    edge_R = np.zeros(segments.bounds[-1] + 1, np.int8)
    # One segment's range may begin where that of the one before ends.
    edge_R[held_S2[:, 0]] += 1
    edge_R[held_S2[:, 1]] -= 1
    return np.cumsum(edge_R, dtype=np.int8)[:-1] > 0


def labelled_rows(segments: Segments, bounds: Boundaries, part: Part) -> NDArray:
    """Rows of a part that have a label, int64 [M]."""
    assert segments.label_R is not None, "task label has labels"
    return np.flatnonzero(rows_in(segments, bounds, part) & ~np.isnan(segments.label_R))


def class_counts(segments: Segments, bounds: Boundaries, part: Part) -> NDArray:
    """Steps of each class in a part, int64 [K]."""
    assert segments.label_R is not None, "task label has labels"
    codes = segments.label_R[labelled_rows(segments, bounds, part)].astype(np.int64)
    return np.bincount(codes, minlength=len(segments.schema.classes))


def plan_part(segments: Segments, bounds: Boundaries, part: Part, window: WindowConfig, num_patches: int) -> StepPlan:
    """Sequences that tell every labelled step of a part once, at most ``num_patches`` patches each.

    Of steps outside the part, those before it are read, as they are known by then; the training part reads none. In
    training, sequences of a segment begin at another step of a patch each, for a policy meets all of them.
    """
    assert segments.label_R is not None, "task label has labels"
    range_S2 = step_ranges(segments, bounds, part)
    first_S = range_S2[:, 0] if part == "train" else segments.bounds[:-1]
    plan = plan_steps(range_S2, first_S, window, num_patches, phase_shift(window.patch) if part == "train" else 0)
    return plan.told(~np.isnan(segments.label_R))


def plan_steps(range_S2: NDArray, first_S: NDArray, window: WindowConfig, num_patches: int, shift: int = 0) -> StepPlan:
    """Sequences that tell every row of some ranges once, in order. The last patch of a range ends with its last row.

    Args:
        range_S2: first and after-last row, each in one segment.
        first_S: first row that may be read; what lies after a range is not.
        shift: rows at the end of a sequence that are left to the next.
    """
    patch = window.patch
    longest = int(np.max(range_S2[:, 1] - range_S2[:, 0], initial=1))
    length = min(num_patches, -(-longest // patch)) * patch
    held_S = range_S2[:, 1] > range_S2[:, 0]
    (first_S, end_S), readable_S = range_S2[held_S].T, first_S[held_S]
    begin_S = end_S - -(-(end_S - first_S) // patch) * patch
    # One sequence that reaches the end leaves nothing to a next one.
    apart_S = np.where(end_S - begin_S > length, length - shift, length)
    number_S = -(-(end_S - begin_S) // apart_S)
    number_S -= (number_S > 1) & (begin_S + (number_S - 2) * apart_S + length >= end_S)
    of_M, turn_M = numbered(number_S)
    start_M, end_M, readable_M = begin_S[of_M] + turn_M * apart_S[of_M], end_S[of_M], readable_S[of_M]
    to_M = np.where(turn_M + 1 < number_S[of_M], start_M + apart_S[of_M], end_M)
    before_M = np.minimum(window.history // patch, -(-np.maximum(start_M - readable_M, 0) // patch))
    told = [np.maximum(start_M, first_S[of_M]), to_M]
    row_M5 = np.stack([*told, start_M - before_M * patch, readable_M, end_M], axis=1).astype(np.int64)
    return StepPlan(row_M5, int(before_M.max(initial=0)) * patch + length, patch)


def phase_shift(patch: int) -> int:
    """Rows that training sequences leave to the next: prime to the patch, so that all its phases come up; 0 for patch 1."""
    return min((s for s in range(1, patch) if gcd(s, patch) == 1), key=lambda s: abs(s - PHASE * patch), default=0)


def cut_steps(segments: Segments, plan: StepPlan, chosen: NDArray) -> Batch:
    """The chosen sequences of a plan from scaled segments. What may not be read, such as steps before the first one, is
    zero in every column and not observed. ``origin_BN`` is 1 for patches that hold at least one step."""
    _, _, start_B1, first_B1, end_B1 = plan.row_M5[chosen].T[:, :, None]
    rows_BT = start_B1 + np.arange(plan.steps)
    inside_BT = (rows_BT >= first_B1) & (rows_BT < end_B1)
    told_BT = told_steps(plan, chosen)
    rows_BT = np.clip(rows_BT, first_B1, end_B1 - 1)
    held_BT1 = inside_BT[:, :, None]
    observed_BTP = (segments.observed_RC.take(rows_BT, 0) * held_BT1).astype(np.float32)
    patches_BN = inside_BT.reshape(len(chosen), -1, plan.patch).any(2).astype(np.float32)
    batch = read_rows(segments, rows_BT, observed_BTP, patches_BN)
    label_BT = np.full(rows_BT.shape, np.nan, np.float32)
    if segments.label_R is not None:
        label_BT[told_BT] = segments.label_R[rows_BT[told_BT]]
    past_BTP, known_BTK = batch.past_BTP * held_BT1, batch.known_BTK * held_BT1
    return replace(batch, past_BTP=past_BTP, known_BTK=known_BTK, label_BT=label_BT)


def told_steps(plan: StepPlan, chosen: NDArray) -> NDArray:
    """Which steps of the chosen sequences are told, bool [B, T]; in order they are the rows that these tell."""
    told_first_B1, told_end_B1, start_B1, _, _ = plan.row_M5[chosen].T[:, :, None]
    rows_BT = start_B1 + np.arange(plan.steps)
    told_BT: NDArray = (rows_BT >= told_first_B1) & (rows_BT < told_end_B1)
    return told_BT
