"""A story as a page, a report and tables. Knows what was seen; knows no server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lstm_ray.figure import Figure
from lstm_ray.operate import pictures
from lstm_ray.operate.pictures import ERRORS, MONITOR, SERVED
from lstm_ray.operate.story import PROMOTED, Story, outcome, rounded
from lstm_ray.report import page, words
from lstm_ray.report.page import Tile
from lstm_ray.report.words import number
from lstm_ray.run_dir import Finding, Report, RunDir

FOLDER, QUESTION = "operate", "A policy at work while its data changes"
DECISIONS = "Decisions"
"""Topic, beside those of the pictures."""
LONGEST = 160
"""Letters of a part of a decision's evidence that the page tells."""
NOT_SEEN = "not seen"


def written(story: Story, run: RunDir, seconds: float, command: str, config_text: str) -> str:
    """Write ``operate/report.json`` and the page; returns the page's path."""
    found = outcome(story)
    report = _report(story, found, seconds)
    drawn = pictures.figures(story, found)
    run.write_json(f"{FOLDER}/report.json", report)
    run.write_json(f"{FOLDER}/figures.json", [one.model_dump() for one in drawn])
    run.write_bytes(f"{FOLDER}/{page.PAGE}", _page(story, found, report, drawn, command, config_text).encode())
    return f"{run.uri}/{FOLDER}/{page.PAGE}"


def _report(story: Story, found: dict[str, Any], seconds: float) -> Report:
    facts: dict[str, Any] = {
        "tables": [_alarms(story), _phases(story), _decisions(story)],
        "topics": [ERRORS, MONITOR, SERVED, DECISIONS],
    }
    return Report(
        stage=FOLDER, summary=_summary(found), findings=_findings(story, found), wall_seconds=seconds, **facts, **found
    )


def _summary(found: Mapping[str, Any]) -> str:
    told = [f"The shift was seen after {found['detection_delay_steps']} steps"]
    if found["detection_delay_steps"] is None:
        told = ["The shift was not seen"]
    told.append(
        f"a challenger took over and brought the live error from {number(found['error_during'])} to "
        f"{number(found['error_after'])}, before the shift it was {number(found['error_before'])}"
        if found["promoted"]
        else "no challenger took over"
    )
    told.append(
        "a bad challenger was refused" if found.get("refused_bad_challenger") else "no bad challenger was refused"
    )
    told.append("a bad champion was rolled back" if found["rolled_back"] else "no bad champion was rolled back")
    return f"{'; '.join(told)}. Of {found['requests']:,} requests {found['failed_requests'] or 'none'} failed."


def _findings(story: Story, found: Mapping[str, Any]) -> list[Finding]:
    told = [Finding(severity="info", text=f"From {story.hour(story.shift)} UTC on, {story.shift_words}.", topic=ERRORS)]
    if found["failed_requests"]:
        kinds = ", ".join(f"{n} of '{what}'" for what, n in story.failed.items())
        told.append(
            Finding(severity="warning", text=f"{found['failed_requests']} requests failed: {kinds}.", topic=SERVED)
        )
    if found["false_alarms"]:
        text = f"Of the looks at the monitor before the shift {found['false_alarms']} found an alarm."
        told.append(Finding(severity="warning", text=text, topic=MONITOR))
    if story.waited:
        told.append(Finding(severity="info", text=story.waited, topic=DECISIONS))
    return told


def _alarms(story: Story) -> dict[str, Any]:
    """What raised an alarm from the shift until the challenger took over, and how long after the shift it did."""
    until, first = story.moments.get(PROMOTED, story.end), dict[str, tuple[int, str]]()
    for look in story.looks:
        if story.shift <= look.step <= until:
            for kind, text in look.alarms.items():
                first.setdefault(kind, (look.step - story.shift, text))
    return {
        "title": "What noticed the shift, and when",
        "columns": ["alarm", "hours after the shift", "words"],
        "rows": [[kind, after, text] for kind, (after, text) in first.items()],
        "caption": "Alarms of data and errors up to the promotion, as first told; that of anomalies asks for no challenger.",
        "topic": MONITOR,
    }


def _phases(story: Story) -> dict[str, Any]:
    rows = [
        [
            phase.name,
            story.hour(phase.first),
            phase.end - phase.first,
            phase.num_requests,
            phase.num_failed,
            rounded(story.error_in(phase.first, phase.end)),
            round(phase.seconds, 1),
        ]
        for phase in story.phases
    ]
    return {
        "title": "The story, stretch by stretch",
        "columns": [
            "stretch",
            "from",
            "hours",
            "requests",
            "failed",
            f"error, {story.unit}",
            "seconds",
        ],
        "rows": rows,
        "caption": "Requests are those of the replay and of a client that asks beside it all the time, also while the replay "
        "stands still for a training; the error is that of the policy which answered most of the stretch.",
        "topic": SERVED,
    }


def _decisions(story: Story) -> dict[str, Any]:
    rows = [
        [entry["sequence"], entry["event"].replace("_", " "), _told(entry["evidence"], story)]
        for entry in story.decisions
    ]
    return {
        "title": "The registry's ledger",
        "columns": ["entry", "event", "evidence"],
        "rows": rows,
        "caption": "Each line is chained to the one before by its hash; all of the evidence stands in registry/ledger.jsonl.",
        "topic": DECISIONS,
    }


def _told(evidence: Mapping[str, Any], story: Story) -> str:
    """The evidence's plain parts in one line, a policy's version by what it is in the story."""
    parts = []
    for key, value in evidence.items():
        if isinstance(value, str) and value in story.roles:
            value = f"the {story.roles[value]}"
        if key in ("reasons", "why"):
            value = "; ".join(value) if isinstance(value, list) else value
        elif isinstance(value, bool | int | float):
            value = number(value)
        if isinstance(value, str) and value and not value.startswith("/"):
            short = value if len(value) <= LONGEST else f"{value[: LONGEST - 1]}…"
            parts.append(f"{key.replace('_', ' ')}: {short}")
    return "; ".join(parts) or words.NOTHING


def _page(
    story: Story,
    found: Mapping[str, Any],
    report: Report,
    figures: Sequence[Figure],
    command: str,
    config_text: str,
) -> str:
    def yes(holds: Any, good: str, bad: str) -> tuple[str, str, str]:
        return ("yes", good, "good") if holds else ("no", bad, "bad")

    delay = found["detection_delay_steps"]
    failed = found["failed_requests"]
    tiles = [
        Tile("Failed requests", number(failed), f"of {found['requests']:,}", "bad" if failed else "good"),
        Tile("Detected after", NOT_SEEN if delay is None else f"{delay} h", "from the shift's hour"),
        Tile("Error before", number(found["error_before"]), f"{story.unit}, the champion"),
        Tile("Error during", number(found["error_during"]), "from the shift to the promotion"),
        Tile("Error after", number(found["error_after"]), "what the challenger answered"),
        Tile("Challenger promoted", *yes(found["promoted"], "it passed the gate", "it did not pass the gate")),
        Tile("Bad one refused", *yes(found.get("refused_bad_challenger"), "by the gate", "the gate let it pass")),
        Tile("Bad champion rolled back", *yes(found["rolled_back"], "by itself", "it stayed")),
    ]
    view = page.section(FOLDER, QUESTION, report, figures, None, RunDir("."))
    return page.filled(
        kind="A policy at work",
        name=story.name,
        task="forecast",
        verdict_text=report.summary,
        tiles=tiles,
        stages={FOLDER: QUESTION},
        views={FOLDER: view},
        command=command,
        config_text=config_text,
        environment=[],
    )
