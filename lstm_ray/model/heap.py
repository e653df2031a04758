"""How this process takes memory from the system and hands it back. Knows nothing of what it holds."""

from __future__ import annotations

import ctypes
import os
import sys

HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"
"""torch asks Linux for pages of 2 MB for its large CPU tensors where this is 1; it looks once, at its first tensor."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGE_BYTES = 16 * 2**20
"""Blocks from this size on are mapped one by one, and go back to the system when freed."""
KEPT_BYTES = 256 * 2**20
"""Free memory at the heap's end that is kept for the next step: to give it back and take it again costs a tenth."""


def steady_heap() -> None:
    """Make a long training's memory neither creep up nor cost more than the arithmetic. Call before the first tensor.

    Activations are large, freed after every step and mapped anew: with pages of 4 kB, Linux spends as long on clearing
    them as the LSTM on using them. glibc raises the size from which blocks are mapped one by one to that of the largest
    freed so far, up to 32 MB: what is smaller comes from one heap, which then grows a little with every step, for it can
    only shrink from its end. So that size is fixed.
    """
    os.environ.setdefault(HUGE_PAGES, "1")
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
            mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
