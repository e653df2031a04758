"""The suite ``serve``: a policy over HTTP, in Python, over many series at once and under load for long, beside others.

The policy has the weights that its seed draws (a trained one is as fast) and forecasts a day of one hourly series from 336
hours. Every measurement runs in a fresh process; servers and the load generator share this machine, so ratios are what holds
elsewhere too.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lstm_ray.benchmark import fresh, untrained
from lstm_ray.benchmark.in_python import batch, python, streams
from lstm_ray.benchmark.options import Options
from lstm_ray.benchmark.over_http import http, soak, swap
from lstm_ray.benchmark.results import Results, say

PARTS: dict[str, Callable[[Options, Path], Results]] = {
    "http": http,
    "python": python,
    "streams": streams,
    "batch": batch,
    "swap": swap,
    "soak": soak,
}
"""By the name that --only takes; each is told the folder of the policy."""


def serve(options: Options) -> Results:
    """Every part, or those named with --only."""
    options.refuse_unknown(PARTS)
    replace(options, only=()).refuse_unknown(())
    results = Results(seeds=[untrained.SEED])
    with tempfile.TemporaryDirectory(prefix="lstm-ray-benchmark-", dir=options.data) as folder:
        policy = Path(folder) / "policy"
        fresh.call("lstm_ray.benchmark.untrained:save", folder=str(policy))
        for name, part in PARTS.items():
            if name in (options.only or PARTS):
                say(f"serve: {name}")
                results.add(part(options, policy))
    return results
