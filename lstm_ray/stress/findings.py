"""What was seen under load, in sentences with numbers, and what to do about it. Knows no page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from lstm_ray.evaluate.words import listed
from lstm_ray.finding import Finding
from lstm_ray.on_ray.serve import QUEUE_FACTOR
from lstm_ray.stress.curve import MAX_SHED, Knee
from lstm_ray.stress.leaks import Growth
from lstm_ray.stress.outcome import Outcome
from lstm_ray.stress.overload import Outage

STEPS, OVERLOAD, OVER_TIME, KILLED, CLIENTS, GENERATOR = (
    "Load step by step",
    "Overload",
    "Over time",
    "A replica killed",
    "Slow and hostile clients",
    "The generator",
)
TOPICS = [STEPS, OVERLOAD, OVER_TIME, KILLED, CLIENTS, GENERATOR]
MOST_OUTAGE_SECONDS = 5.0
"""For which valid requests may fail where another replica is there."""
MOST_OTHERS = 0.3
"""Cores that other programs may use before the figures are doubted."""
BUSY = 0.9
"""Share of the machine, or of a replica's core, beyond which it is used up."""


def findings_of(outcome: Outcome) -> list[Finding]:
    """All that is to be said, by topic."""
    parts = (_broken, _capacity, _first, _knee, _limits, _shedding, _recovery, _growths, _outage, _clients, _generator)
    return [finding for part in parts for finding in part(outcome)]


def summary_of(outcome: Outcome) -> str:
    """The verdict in a sentence or two."""
    target, capacity = f"{outcome.config.p99_ms:g} ms", outcome.capacity
    most = f"{clients(capacity.users or 0)} at once, {capacity.per_second or 0:,.0f} a second"
    told = {
        "found": f"It answers 99 % of requests within {target} up to {most}",
        "not reached": f"It answers 99 % of requests within {target} at every load tried, up to {most}",
        "never held": f"It does not answer 99 % of requests within {target} at any load tried",
    }[capacity.state]
    if outcome.broken:
        return f"{told}. It broke: {'; '.join(outcome.broken)}."
    return f"{told}. Nothing broke{f'; first to give way: {outcome.first}' if outcome.first else ''}."


def clients(number: float) -> str:
    """A number of clients, whole."""
    return f"{round(number):,} client{'s' if round(number) != 1 else ''}"


def _broken(outcome: Outcome) -> Iterator[Finding]:
    for why in outcome.broken:
        yield Finding(
            severity="warning", topic=STEPS, text=f"The server broke: {why}.", advice="Read Ray's serve logs."
        )


def _capacity(outcome: Outcome) -> Iterator[Finding]:
    capacity, target = outcome.capacity, outcome.config.p99_ms
    if capacity.state == "never held":
        step = min(outcome.steps, key=lambda step: step.users)
        told = "nobody was answered" if step.p99_ms is None else f"the p99 is {step.p99_ms:.1f} ms"
        text = f"The target of {target:g} ms is missed already by {clients(step.users)}: {told}."
        advice = "stress.p99_ms: a target that one request alone can keep, or a smaller model.hidden"
        yield Finding(severity="warning", topic=STEPS, text=text, advice=advice)
    elif capacity.state == "not reached":
        text = f"The capacity at a p99 of {target:g} ms lies beyond the {clients(capacity.users or 0)} that were tried."
        yield Finding(severity="advice", topic=STEPS, text=text, advice="stress.users: more clients")
    else:
        lost = {
            "p99": "then the p99 passes it",
            "shed": "then requests are turned away",
            "failed": "then requests fail",
        }
        text = (
            f"Capacity at a p99 of {target:g} ms: {clients(capacity.users or 0)}, {capacity.per_second or 0:,.0f} requests a "
            f"second; {lost[capacity.by]}."
        )
        yield Finding(severity="info", topic=STEPS, text=text)


def _first(outcome: Outcome) -> Iterator[Finding]:
    if outcome.first:
        yield Finding(severity="info", topic=STEPS, text=f"First to give way as clients were added: {outcome.first}.")


def _knee(outcome: Outcome) -> Iterator[Finding]:
    knee = outcome.knee
    if knee is None:
        text = "No knee can be told: fewer than four loads were answered, or throughput grew in step with the clients."
        yield Finding(severity="advice", topic=STEPS, text=text, advice="stress.users: more steps, to a higher load")
        return
    where = f"at {knee.users:,.1f} clients" if knee.reached else f"beyond the clients tried, at about {knee.users:,.0f}"
    text = (
        f"Latency turns upwards {where} ({knee.low:,.1f} to {knee.high:,.1f} with each step left out in turn), where the line "
        f"of an unloaded server meets that of a saturated one (Universal Scalability Law, contention {knee.contention:.3f}, "
        f"coherency {knee.coherency:.5f}): at most {knee.peak_per_second:,.0f} requests a second."
    )
    yield Finding(severity="info", topic=STEPS, text=text)


def _limits(outcome: Outcome) -> Iterator[Finding]:
    """Whether more replicas would help: where theirs is the core that is used up, and others idle."""
    busiest = max(outcome.used, key=lambda used: used.replicas or 0.0, default=None)
    if busiest is None or busiest.replicas is None or busiest.machine is None or outcome.deploy is None:
        return
    replicas = outcome.deploy.replicas
    text = (
        f"At the busiest {replicas} replica{'s' if replicas > 1 else ''} used {busiest.replicas:.2f} cores, the proxy "
        f"{busiest.proxy or 0.0:.2f}, and the machine as a whole was {100 * busiest.machine:.0f} % busy, clients included."
    )
    if busiest.replicas < BUSY * replicas:
        yield Finding(severity="info", topic=STEPS, text=text)
    elif busiest.machine < BUSY:
        advice = f"deploy.replicas: {replicas + 1}"
        yield Finding(severity="advice", topic=STEPS, text=f"{text} Cores are free.", advice=advice)
    else:
        advice = "deploy.replicas: more of them on more machines; on this one they would take turns"
        yield Finding(severity="advice", topic=STEPS, text=text, advice=advice)


def _shedding(outcome: Outcome) -> Iterator[Finding]:
    shed = outcome.shedding
    if shed.state == "none was needed":
        text = f"Nobody was turned away, up to {clients(shed.users)}"
        text += f" (p99 {shed.p99_ms:,.0f} ms)." if shed.p99_ms is not None else "."
        if outcome.deploy is not None:
            room = (1 + QUEUE_FACTOR) * outcome.deploy.max_ongoing_requests * outcome.deploy.replicas
            text += f" The server works on and queues {room:,} requests before it turns any away."
        advice = f"stress.spike_users: beyond that, to see overload; {_queue(outcome)}" if outcome.deploy else ""
        yield Finding(severity="info", topic=OVERLOAD, text=text, advice=advice.removesuffix("; "))
        return
    if shed.state == "failed":
        text = f"Under overload requests fail that should be turned away; at {clients(shed.users)} {_percent(shed.share)} were."
        yield Finding(severity="warning", topic=OVERLOAD, text=text, advice=_queue(outcome))
        return
    told = (
        f"At {clients(shed.users)} {_percent(shed.share)} of requests were turned away with 503 and Retry-After; of those "
        f"accepted, but for the first second, in which connections are opened, the p99 was {shed.p99_ms or 0:,.0f} ms"
    )
    if shed.full_ms is not None:
        told += f", where the last place of a full queue is worth {shed.full_ms:,.0f} ms"
    if shed.state == "bounded":
        over = (shed.p99_ms or 0) > outcome.config.p99_ms
        text = f"{told}: bounded, no more than {shed.bound_ms:,.0f} ms."
        yield Finding(severity="info", topic=OVERLOAD, text=text, advice=_queue(outcome) if over else "")
    else:
        text = f"{told}: not bounded, more than {shed.bound_ms:,.0f} ms."
        yield Finding(severity="warning", topic=OVERLOAD, text=text, advice=_queue(outcome))


def _queue(outcome: Outcome) -> str:
    """The queue whose last request waits no longer than the target: by Little's law, as many as are answered in that time."""
    if outcome.deploy is None:
        return ""
    best = max((step.per_second for step in outcome.steps), default=0.0)
    room = best * outcome.config.p99_ms / 1_000 / (1 + QUEUE_FACTOR) / outcome.deploy.replicas
    most = max(1, int(room))
    if most >= outcome.deploy.max_ongoing_requests:
        return ""
    return f"deploy.max_ongoing_requests: {most}, for a full queue to be answered within the target"


def _recovery(outcome: Outcome) -> Iterator[Finding]:
    found, spike = outcome.recovery, outcome.spike
    if found is None or spike is None:
        return
    if spike.failed:
        text = f"In the spike of {clients(spike.users)} {_percent(spike.failed)} of valid requests failed."
        yield Finding(severity="warning", topic=OVERLOAD, text=text, advice=_queue(outcome))
    if found.limit_ms is None:
        text = "Nobody was answered before the spike, so that recovery from it cannot be told."
        yield Finding(severity="warning", topic=OVERLOAD, text=text)
    elif found.seconds is None:
        text = (
            f"Within {found.watched_seconds:.1f} s after a spike of {clients(spike.users)} answers did not come again as "
            f"before it: 95 % of each half second within {found.limit_ms:.0f} ms, for 1.5 s."
        )
        yield Finding(severity="warning", topic=OVERLOAD, text=text, advice=_queue(outcome))
    else:
        text = (
            f"{found.seconds:.1f} s after a spike of {clients(spike.users)} answers came as before it, within "
            f"{found.limit_ms:.0f} ms."
        )
        yield Finding(severity="info", topic=OVERLOAD, text=text)


def _growths(outcome: Outcome) -> Iterator[Finding]:
    if outcome.soak is None:
        return
    soak = outcome.soak
    text = (
        f"Over {soak.seconds:.0f} s of {clients(soak.users)} at once {soak.per_second:,.0f} requests a second were answered, "
        f"p99 {soak.p99_ms or 0:.1f} ms."
    )
    yield Finding(severity="info", topic=OVER_TIME, text=text)
    if not outcome.growths:
        seen = "the soak is too short" if outcome.deploy else "the server was not started here"
        yield Finding(severity="info", topic=OVER_TIME, text=f"Memory and open files cannot be judged: {seen}.")
    severities: dict[str, Literal["warning", "advice", "info"]] = {
        "leaks": "warning",
        "unclear": "advice",
        "grows": "info",
    }
    for state, severity in severities.items():
        for growth in (one for one in outcome.growths if one.state == state):
            yield Finding(severity=severity, topic=OVER_TIME, text=_growth(growth), advice=_more(state))
    if steady := [f"{one.role} ({one.what})" for one in outcome.growths if one.state == "steady"]:
        yield Finding(severity="info", topic=OVER_TIME, text=f"These did not grow: {listed(steady)}.")


def _growth(growth: Growth) -> str:
    verdict = {
        "leaks": "more than is allowed, for sure",
        "unclear": "which may be more than is allowed",
        "grows": "within what is allowed",
    }[growth.state]
    return (
        f"{growth.what.capitalize()} of the {growth.role}: {_amount(growth, growth.growth)} came to "
        f"{_amount(growth, growth.start)} in {growth.seconds:.0f} s (95 % interval {_amount(growth, growth.low)} "
        f"to {_amount(growth, growth.high)}; allowed "
        f"{_amount(growth, growth.limit)}), {verdict}."
    )


def _more(state: str) -> str:
    return "stress.soak_seconds: longer, for what fills once stops and what leaks does not" if state != "grows" else ""


def _amount(growth: Growth, value: float) -> str:
    return f"{value / 1e6:,.1f} MB" if growth.what == "memory" else f"{value:,.0f}"


def _outage(outcome: Outcome) -> Iterator[Finding]:
    found = outcome.outage
    if found is None:
        return
    back = (
        "no successor while it was watched"
        if found.back_seconds is None
        else f"a successor in {found.back_seconds:.1f} s"
    )
    text = (
        f"One of {found.replicas} replica{'s' if found.replicas > 1 else ''} was killed under load; it had {back}. "
        f"{found.failed:,} of {found.asked:,} valid requests failed, over {found.seconds:.1f} s; the longest time without any "
        f"answer was {found.silent_seconds:.1f} s."
    )
    if found.replicas == 1:
        advice = "deploy.replicas: 2, for the other to answer meanwhile"
        yield Finding(severity="advice", topic=KILLED, text=text, advice=advice)
    else:
        text += f" Allowed with other replicas there: {MOST_OUTAGE_SECONDS:g} s."
        yield Finding(severity="warning" if is_long(found) else "info", topic=KILLED, text=text)


def is_long(found: Outage) -> bool:
    """Whether an outage is longer than it may be where other replicas are there."""
    return found.replicas > 1 and max(found.seconds, found.silent_seconds) > MOST_OUTAGE_SECONDS


def _clients(outcome: Outcome) -> Iterator[Finding]:
    asked = sum(one.asked for one in outcome.refused)
    wrong = [one for one in outcome.refused if one.wrong]
    if asked and not wrong:
        kinds = sum(1 for one in outcome.refused if one.asked)
        text = f"All of {asked:,} hostile requests of {kinds} kinds got the refusal that is right, none a 5xx."
        yield Finding(severity="info", topic=CLIENTS, text=text)
    for one in wrong:
        told = listed([f"{status} {number:,} times" for status, number in one.statuses.items()])
        text = f"Hostile requests with {one.name} got {told}; right is {' or '.join(map(str, one.right))}."
        yield Finding(severity="warning", topic=CLIENTS, text=text)
    if missed := [one.name for one in outcome.refused if not one.asked]:
        text = f"Not told, for they take longer than the loads lasted or no turn was left: {listed(missed)}."
        advice = "stress.soak_seconds: longer, or stress.hostile: a larger share"
        yield Finding(severity="advice", topic=CLIENTS, text=text, advice=advice)
    if outcome.slow:
        good, away, number = outcome.slow.get("200", 0), outcome.slow.get("503", 0), sum(outcome.slow.values())
        text = f"Of {number:,} requests that came in pieces, over two seconds, {good:,} were answered"
        text += f" and {away:,} turned away." if away else "."
        yield Finding(severity="info" if good + away == number else "advice", topic=CLIENTS, text=text)
    if outcome.deploy is None:
        text = "The monitor of the server that was named has counted these requests among what it really saw."
        advice = "Start it anew where its account of drift matters."
        yield Finding(severity="advice", topic=CLIENTS, text=text, advice=advice)
    if outcome.faults:
        told = listed([f"{status} ({number:,})" for status, number in outcome.faults.items()])
        text = f"Valid and slow clients got, instead of an answer or a turning away: {told}."
        yield Finding(severity="warning", topic=CLIENTS, text=text)


def _generator(outcome: Outcome) -> Iterator[Finding]:
    if outcome.generator is None:
        return
    limited = [step.users for step in outcome.steps if step.limited_by_generator]
    text = f"The generator, one process on one core, used at most {100 * outcome.generator:.0f} % of it"
    if limited:
        text += f"; at {listed([str(users) for users in limited])} clients it set the pace, and the server bears more."
        advice = "Run 'lstm-ray stress RUN --url ...' on another machine."
        yield Finding(severity="warning", topic=GENERATOR, text=text, advice=advice)
        return
    text += ", so the server set the pace."
    full = max((used.machine for used in outcome.used if used.machine is not None), default=0.0)
    if full > BUSY and outcome.deploy is not None:
        text += f" But both share this machine, which was up to {100 * full:.0f} % busy: alone the server bears more."
    yield Finding(severity="info", topic=GENERATOR, text=text)
    others = max((used.others for used in outcome.used if used.others is not None), default=0.0)
    if others > MOST_OTHERS:
        text = f"Other programs used up to {others:.1f} cores of this machine meanwhile: its figures are too low."
        yield Finding(severity="warning", topic=GENERATOR, text=text, advice="Run it again on a machine that rests.")


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def knee_words(knee: Knee | None) -> str:
    """For a tile."""
    return "none told" if knee is None else f"{knee.users:,.1f}" if knee.reached else f"> {knee.users:,.0f}"


def shed_words(outcome: Outcome) -> str:
    """For a tile."""
    return "none" if outcome.shedding.share <= MAX_SHED else _percent(outcome.shedding.share)
