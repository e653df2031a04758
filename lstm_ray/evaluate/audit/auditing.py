"""Every check of a finished run, one after the other. Knows the run directory.

An audit reads what the stages left and trains one small policy; it changes nothing but ``evaluate/audit.json``.
"""

from __future__ import annotations

from collections.abc import Callable

from lstm_ray import progress
from lstm_ray.config import Config
from lstm_ray.data.quality.clean import lookback
from lstm_ray.data.store import load_segments
from lstm_ray.data.timeline.grid import resolved
from lstm_ray.evaluate.audit import fitted, future, inputs, named, relied, shuffled
from lstm_ray.evaluate.audit.checks import TOPIC, Check
from lstm_ray.evaluate.told import AUDIT, METRICS
from lstm_ray.model.policy import Policy
from lstm_ray.run_dir import RunDir


def audit(config: Config, run: RunDir) -> list[Check]:
    """Check a run whose stage evaluate has run, and leave the answers in AUDIT: ``checks``, and as a report shows them
    ``findings`` and ``tables``.

    Raises InputError where a stage's files are missing or damaged.
    """
    config = resolved(config)
    segments, parts = load_segments(run)
    with run.local_copy("evaluate/policy") as folder:
        policy = Policy.load(folder)
    own = config.model_copy(
        update={section: getattr(policy.config, section) for section in ("window", "model", "train")}
    )
    window, seed, scaler = own.window, config.seed, policy.scaler
    before, scored = lookback(scaler), int(run.read_json(f"evaluate/{METRICS}")["num_windows"])
    tasks: dict[str, list[Callable[[], Check]]] = {
        "forecast": [
            lambda: future.of_forecasts(policy, segments, parts, window, before, seed),
            lambda: inputs.that_know(segments, parts, window, seed),
            lambda: relied.of_forecasts(policy, segments, parts, window, scaler, before, seed),
        ],
        "classify": [
            lambda: future.of_classes(policy, segments, parts, window.history, seed),
            lambda: named.of_classes(segments, parts),
        ],
        "label": [
            lambda: future.of_labels(policy, segments, parts, window, seed),
            lambda: named.of_labels(segments, parts, seed),
        ],
    }
    checks: list[Callable[[], Check]] = [
        *tasks[config.task],
        lambda: shuffled.check(own, segments, parts, scaler),
        lambda: fitted.scaler(config, run, parts),
        lambda: fitted.filled(config, segments),
        lambda: fitted.windows(own, segments, parts, scored),
        lambda: fitted.repeated(own, segments, parts),
    ]
    found = []
    with progress.bar("audit", len(checks)) as advance:
        for one in checks:
            found.append(one())
            advance(found[-1].name)
    run.write_json(AUDIT, _told(found))
    return found


def _told(checks: list[Check]) -> dict[str, object]:
    """The checks, and what a report shows of them."""
    rows = [row for check in checks for row in inputs.as_rows(check)]
    table = {
        "title": "What each input adds to a target's own past",
        "columns": ["input", "target", "role", "steps ahead", "share of the error taken away"],
        "rows": rows,
        "caption": "The largest share of the squared error of a linear forecast from the target's own past that the input "
        "alone takes away, over leads; fitted on the training part, measured on the validation part.",
        "topic": TOPIC,
    }
    told = ("name", "verdict", "text", "advice", "details")
    return {
        "checks": [{name: getattr(check, name) for name in told} for check in checks],
        "findings": [check.finding.model_dump() for check in checks],
        "tables": [table] if rows else [],
    }
