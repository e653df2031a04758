"""Pages of a finished run beside its own: where they lie, and what each says. Knows run directories; draws nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lstm_ray.errors import InputError
from lstm_ray.evaluate.told import UNSEEN
from lstm_ray.run_dir import RunDir

KINDS: Mapping[str, tuple[str, str]] = {
    rf"{UNSEEN}/[^/]+": (UNSEEN, "Unseen data"),
    "monitor/[^/]+": ("monitor", "New data watched"),
    "retrain/[^/]+/gate": ("retrain", "Retrained, judged at the gate"),
    "stress": ("stress", "Under load"),
    "operate": ("operate", "Operated unattended"),
}
"""What their folders look like, below which part of the run, and what a page there is about."""


def pages(run: RunDir, page: str) -> list[tuple[str, str, str]]:
    """What each is about, its path from the run's own page, and its summary; of a kind, in the order of their names.

    Args:
        page: name of a page's file.
    """
    found = []
    for pattern, (below, title) in KINDS.items():
        at = [file.removesuffix(f"/{page}") for file in run.files(below) if file.endswith(f"/{page}")]
        for folder in (one for one in at if re.fullmatch(pattern, one)):
            try:
                report = run.report(folder)
            except InputError as error:
                # A page that cannot be told of is still there; the run's own page does not hang on it.
                found.append((title, f"{folder}/{page}", str(error)))
                continue
            if report is not None:
                found.append((title, f"{folder}/{page}", report.summary))
    return found
