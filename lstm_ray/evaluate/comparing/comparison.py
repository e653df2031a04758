"""Any number of finished runs, compared on the cases that all of them answered: tests, ranks, tables, a verdict.

Knows run directories by ``runs`` alone; writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lstm_ray.evaluate.comparing import apart, figures
from lstm_ray.evaluate.comparing.pairs import SIGNIFICANT, Pair, pairs
from lstm_ray.evaluate.comparing.ranking import FEWEST, Ranking, ranking
from lstm_ray.evaluate.comparing.runs import Finished, Matched, differences, matched, read
from lstm_ray.evaluate.words import number, percent
from lstm_ray.figure import Figure
from lstm_ray.run_dir import Finding

WORDS = {"forecast": "mean absolute error", "classify": "share told wrong", "label": "mean error"}
PAIRS, RANKS, SETTINGS = "Pair by pair", "Ranks", "What the runs did differently"
"""Topics."""
NOTHING = "-"
FEW = 0.5
"""Share of a run's cases below which too few are common to speak for it."""


@dataclass(frozen=True)
class Comparison:
    """What comparing found."""

    runs: list[Finished]
    found: Matched
    pairs: list[Pair]
    ranking: Ranking | None
    summary: str
    findings: list[Finding]
    tables: list[dict[str, Any]]
    figures: list[Figure]

    @property
    def errors(self) -> dict[str, float]:
        """Mean error of every contender on the common cases, the best first."""
        return _errors(self.found)

    def rows(self) -> list[list[str]]:
        """A table for the terminal, its head first: every contender, and how clear the best run is of it."""
        best = next(name for name in self.errors if name in self.found.names[: self.found.num_runs])
        against = {frozenset((pair.better, pair.other)): pair for pair in self.pairs}
        head = ["", "error", f"than {best}", "95 % interval", "p (Holm)", "rank"]
        ranks = dict(zip(self.ranking.names, self.ranking.ranks, strict=True)) if self.ranking else {}
        rows = []
        for name, error in self.errors.items():
            pair = against.get(frozenset((best, name)))
            rank = f"{ranks[name]:.2f}" if ranks else NOTHING
            if pair is None:
                rows.append([name, number(error), "", "", "", rank])
                continue
            sign = 1 if pair.better == best else -1
            ends = sorted(sign * end for end in pair.interval) if pair.interval else None
            words = " to ".join(map(number, ends)) if ends else NOTHING
            rows.append([name, number(error), f"{sign * pair.difference:+.3g}", words, f"{pair.adjusted:.2g}", rank])
        return [head, *rows]

    def as_dict(self) -> dict[str, Any]:
        """``comparison.json``."""
        ranks = self.ranking
        told = None
        if ranks is not None:
            adjusted = [{"names": list(names), "p": p} for names, p in ranks.adjusted.items()]
            told = asdict(ranks) | {"adjusted": adjusted}
        return {
            "task": self.found.task,
            "error": WORDS[self.found.task],
            "num_cases": len(self.found.step_M),
            "left_out": self.found.left_out,
            "runs": [
                {
                    "name": run.name,
                    "uri": run.uri,
                    "policy": run.told.policy,
                    "metrics": run.told.metrics,
                    "num_windows": run.told.num_windows,
                    "num_parameters": run.num_parameters,
                    "training_seconds": run.training_seconds,
                }
                for run in self.runs
            ],
            "errors": self.errors,
            "pairs": [asdict(pair) for pair in self.pairs],
            "ranking": told,
            "differences": dict(differences(self.runs)),
            "summary": self.summary,
        }


def compare(places: Sequence[str], *, baselines: bool = True) -> Comparison:
    """Compare finished runs.

    Args:
        places: their run directories, at least two.
        baselines: those of the first run join in.

    Raises:
        InputError: a run is not evaluated, their errors are not of one kind, or they have no case in common.
    """
    runs = read(places)
    found = matched(runs, baselines=baselines)
    tested, ranks = pairs(found), ranking(found)
    words = WORDS[found.task]
    summary = _verdict(found, tested)
    drawn = [figures.differences(tested, words), figures.over_time(found, words), figures.by_series(found, words)]
    shown = [one.model_copy(update={"topic": PAIRS}) for one in drawn if one is not None]
    if ranks is not None:
        shown.insert(0, figures.critical_difference(ranks).model_copy(update={"topic": RANKS}))
    distances, said = apart.told(runs)
    tables = [*([_rank_table(ranks)] if ranks else []), _pair_table(tested, words), *distances, *_settings_table(runs)]
    findings = [*_findings(runs, found, tested, ranks), *said]
    return Comparison(runs, found, tested, ranks, summary, findings, tables, shown)


def _errors(found: Matched) -> dict[str, float]:
    mean = dict(zip(found.names, found.error_MK.mean(axis=0).tolist(), strict=True))
    return dict(sorted(mean.items(), key=lambda item: item[1]))


def _verdict(found: Matched, tested: Sequence[Pair]) -> str:
    """Who is best of the runs, and how sure that is."""
    runs = found.names[: found.num_runs]
    errors = _errors(found)
    best, second = [name for name in errors if name in runs][:2]
    every = "both" if len(runs) == 2 else f"all {len(runs)}"
    head = f"On {len(found.step_M):,} {found.unit} that {every} runs answered"
    among = {frozenset((pair.better, pair.other)): pair for pair in tested}
    if among[frozenset((best, second))].difference == 0:
        return f"{head}, {best} and {second} are equally good: a {WORDS[found.task]} of {number(errors[best])} each."
    text = f"{head}, {best} has the least {WORDS[found.task]}, {number(errors[best])}."
    rivals = {name: among[frozenset((best, name))] for name in errors if name in runs and name != best}
    said = {name: f"{name} ({number(errors[name])}; {_by(pair)})" for name, pair in rivals.items()}
    clear = [said[name] for name, pair in rivals.items() if pair.is_clear]
    unclear = {name: pair for name, pair in rivals.items() if not pair.is_clear}
    untold = [name for name, pair in unclear.items() if pair.interval is None and pair.p == 1]
    luck = [said[name] for name in unclear if name not in untold]
    short = [f"{name} ({number(errors[name])})" for name in untold]
    if clear:
        text += f" It is better than {', '.join(clear)}, and not by luck."
    if luck:
        text += f" That it is better than {', '.join(luck)} may be luck."
    if short:
        text += f" Whether it is better than {', '.join(short)} by luck cannot be told: the {found.unit} span too short a time."
    return text


def _by(pair: Pair) -> str:
    share = "" if pair.share is None else f"{percent(pair.share)} less, "
    return f"{share}p = {pair.adjusted:.2g}"


def _findings(runs: Sequence[Finished], found: Matched, tested: Sequence[Pair], ranks: Ranking | None) -> list[Finding]:
    told = []
    for name, number_out in found.left_out.items():
        if number_out:
            whole = number_out + len(found.step_M)
            text = (
                f"{number_out:,} of {whole:,} {found.unit} of '{name}' were left out: another run did not answer them, such as "
                "one with a longer history."
            )
            far = number_out > FEW * whole
            advice = "Compare runs with one split and one window.history." if far else ""
            told.append(Finding(severity="warning" if far else "info", text=text, advice=advice))
    behind = [pair for pair in tested if pair.better in found.names[found.num_runs :] and pair.is_clear]
    if behind:
        said = ", ".join(f"{pair.other} behind {pair.better} ({_by(pair)})" for pair in behind)
        text = f"Runs that a baseline beats, and not by luck: {said}."
        told.append(Finding(severity="warning", text=text, advice="Serve the baseline, or train longer.", topic=PAIRS))
    clear = [pair for pair in tested if pair.is_clear]
    told.append(
        Finding(
            severity="info",
            text=f"{len(clear)} of {len(tested)} pairs differ by more than luck ({tested[0].test} test, Holm's correction over "
            f"pairs of runs and over those of a run and a baseline, {percent(SIGNIFICANT)}).",
            topic=PAIRS,
        )
    )
    if tested[0].interval is None and tested[0].difference:
        text = "The common test part is too short for intervals of differences: it spans fewer than 8 blocks of time."
        told.append(Finding(severity="advice", text=text, advice="split.test: a larger part", topic=PAIRS))
    if ranks is None:
        text = f"No ranks: there are fewer than {FEWEST} series, and fewer than {FEWEST} blocks of time."
        told.append(Finding(severity="info", text=text, topic=RANKS))
    else:
        told.append(Finding(severity="info", text=_of_ranks(ranks), topic=RANKS))
    if len({run.told.num_windows for run in runs}) > 1:
        text = "Metrics other than the error on common cases are of each run's own test part, which are not the same."
        told.append(Finding(severity="advice", text=text, advice="Trust the column of common cases first."))
    return told


def _of_ranks(ranks: Ranking) -> str:
    text = f"Ranked over {ranks.over}, {ranks.names[0]} comes first, {ranks.ranks[0]:.2f} on average"
    if ranks.p is not None:
        luck = "more than luck explains" if ranks.p < SIGNIFICANT else "no more than luck explains"
        text += f"; ranks differ {luck} (Friedman's test, p = {ranks.p:.2g})"
    else:
        (p,) = ranks.adjusted.values()
        text += f" (Wilcoxon's signed-rank test, p = {p:.2g})"
    critical = f"; Nemenyi's critical difference is {ranks.critical:.2f} ranks."
    together = [", ".join(group) for group in ranks.groups]
    return text + critical + (f" Not told apart: {'; '.join(together)}." if together else " Every two of them differ.")


def _pair_table(tested: Sequence[Pair], words: str) -> dict[str, Any]:
    rows = [
        [
            pair.better,
            pair.other,
            pair.difference,
            None if pair.share is None else 100 * pair.share,
            *(pair.interval or (None, None)),
            round(pair.p, 5),
            round(pair.adjusted, 5),
            "yes" if pair.is_clear else "no",
        ]
        for pair in tested
    ]
    return {
        "title": "Every pair",
        "columns": ["better", "other", "difference", "less by %", "from", "to", "p", "p (Holm)", "clear of luck"],
        "rows": rows,
        "caption": f"Difference in {words} on the common cases, with its 95 % interval; p of the {tested[0].test} test, "
        "two-sided, and after Holm's correction over the pairs of runs, or over those of a run and a baseline. "
        "Where times are few, the test is stricter than the interval.",
        "topic": PAIRS,
    }


def _rank_table(ranks: Ranking) -> dict[str, Any]:
    return {
        "title": f"Average ranks over {ranks.over}",
        "columns": ["who", "average rank", "cannot be told from"],
        "rows": [
            [
                name,
                rank,
                ", ".join(sorted({other for group in ranks.groups if name in group for other in group} - {name})),
            ]
            for name, rank in zip(ranks.names, ranks.ranks, strict=True)
        ],
        "best": 0,
        "topic": RANKS,
    }


def _settings_table(runs: Sequence[Finished]) -> list[dict[str, Any]]:
    rows = [[field, *(_cell(value) for value in values)] for field, values in differences(runs)]
    caption = "The fields of config.yaml in which the runs differ; the others are the same."
    if not rows:
        rows, caption = [["none", *("" for _ in runs)]], "No field of config.yaml differs between the runs."
    columns = ["field", *(run.name for run in runs)]
    return [{"title": "Settings that differ", "columns": columns, "rows": rows, "caption": caption, "topic": SETTINGS}]


def _cell(value: Any) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
