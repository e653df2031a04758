"""How nearly the same two answers to the same input are, however they came about: what is promised, and tested.

float32 sums depend on the order in which a processor takes them, and that on how many rows lie side by side. Knows no policy.
"""

from __future__ import annotations

from dataclasses import dataclass

from lstm_ray.model.smoke import TOLERANCE


@dataclass(frozen=True)
class Held:
    """The largest difference between answers that differ in one way alone."""

    way: str
    most: float
    """Training deviations, or probability; 0: the same to the last bit."""


HELD = {
    "again": Held("asked again, of the same or another replica, by HTTP, gRPC or Python", 0.0),
    "restarted": Held("a replica, the register or the server killed and started again", 0.0),
    "callers": Held("callers' threads at once", 0.0),
    "beside": Held("alone, or predicted beside 255 others", 1e-5),
    "levels": Held("other quantiles asked for, by it or by those beside it", 1e-5),
    "threads": Held("another number of torch's threads", 1e-5),
    "batch job": Held("a request, or a row of `lstm-ray forecast`", 1e-5),
    "stream": Held("a request, or a stream that has read the same steps", 1e-5),
    "format": Held("a bundle of an older format (2 on), on the package that reads it", 1e-5),
    "machine": Held("another machine or torch, by the smoke input; beyond it a bundle is not served", TOLERANCE),
}


def table() -> list[list[str]]:
    """Rows of ``The same input`` and ``differs by at most``, in words."""
    return [[one.way, f"{one.most:.6f}".rstrip("0") if one.most else "nothing"] for one in HELD.values()]
