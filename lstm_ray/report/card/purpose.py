"""What a policy does, in a sentence. Knows its schema and window; no metrics, no service."""

from __future__ import annotations

from lstm_ray.data.timeline.frequency import describe_step
from lstm_ray.model.policy import Policy


def purpose(policy: Policy) -> str:
    """What the policy tells from what."""
    window, schema = policy.config.window, policy.schema
    step = describe_step(schema.step, schema.is_time, schema.in_months)
    inputs = f"{len(schema.target) + len(schema.past) + len(schema.known)} input columns"
    classes = " or ".join(f"'{name}'" for name in schema.classes)
    if policy.config.task == "label":
        what = f"the class, {classes}," if classes else f"the value of '{schema.label}'"
        if policy.config.model.bidirectional:
            seen = "those around it"
        else:
            seen = f"it and up to {window.patch - 1} after it" if window.patch > 1 else "it alone"
        return (
            f"Tells {what} of every step of {step} from {inputs}, read at {seen} and at the steps before, {window.history} of "
            "them at least where they are sent."
        )
    if policy.config.task == "classify":
        return f"Tells {classes} from at most {window.history} steps of {step} of {inputs}."
    lags = f" and, where sent, the targets {' and '.join(map(str, window.lags))} steps before" if window.lags else ""
    return (
        f"Forecasts {', '.join(schema.target)} for the next {window.horizon} steps of {step} "
        f"from the last {window.history} steps of {inputs}{lags}."
    )
