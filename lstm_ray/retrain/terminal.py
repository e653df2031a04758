"""Retraining for a person or a job's log: a line for each step, and what came of it. Knows no training."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from lstm_ray.errors import InputError
from lstm_ray.retrain.attempt import Outcome
from lstm_ray.retrain.job import BY_HAND, asked, retrain, watch

NOT_ASKED = {"attempt": "", "challenger": "", "verdict": "not asked", "promoted": False, "why": [], "seconds": {}}


def retrain_run(
    run: str, data: Sequence[str], by_hand: bool, watching: bool, overrides: Sequence[str], as_json: bool
) -> None:
    """Retrain once, where something asks for it, by hand whatever does; or watch until Ctrl-C.

    Args:
        data: new files; naming some asks by hand.
        as_json: an outcome is one line of JSON, too, the last that is printed.

    Raises InputError as ``job.retrain`` does.
    """
    console = Console(highlight=False)

    def say(words: str) -> None:
        console.print(f"[dim]→[/] {escape(words)}", soft_wrap=True)

    if watching:
        if by_hand:
            raise InputError(
                "--watch waits until something asks for a challenger, and --by-hand does not wait: ask for one"
            )
        say(f"watching '{run}'; Ctrl-C ends it, and the same command goes on from there")
        for outcome in watch(run, data, overrides, say):
            _tell(console, outcome, as_json)
        return
    reasons = [BY_HAND] if by_hand or data else asked(run, overrides)
    if not reasons:
        say("nothing asks for a challenger: no alarm, too few new rows, no schedule; --by-hand trains one all the same")
        if as_json:
            print(json.dumps(NOT_ASKED), flush=True)
        return
    _tell(console, retrain(run, data, reasons, overrides, say), as_json)


def _tell(console: Console, outcome: Outcome, as_json: bool) -> None:
    sign = "[green]✓[/]" if outcome.promoted else "[yellow]![/]"
    verdict = outcome.told()["verdict"]
    console.print(f"{sign} challenger {escape(outcome.attempt)} is {verdict}", soft_wrap=True)
    for reason in outcome.why:
        console.print(f"  {escape(reason)}", soft_wrap=True)
    if outcome.verdict is not None:
        console.print(f"report: {escape(str(outcome.folder / 'gate' / 'report.html'))}", soft_wrap=True)
    if as_json:
        print(json.dumps(outcome.told()), flush=True)
