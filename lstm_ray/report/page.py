"""``report.html``: one self-contained page of whatever stages have run. Knows report files; runs no stage.

Page, style and script are files beside this one; plotly.js draws the figures in the reader's browser and is copied into
the page, so that it opens without a network. A content security policy lets only these scripts, by their hash, run.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jinja2
import yaml
from markupsafe import Markup
from pydantic import TypeAdapter, ValidationError

from lstm_ray.errors import InputError
from lstm_ray.evaluate.told import AUDIT
from lstm_ray.figure import Figure
from lstm_ray.report import further, scores, tables, words
from lstm_ray.report.figures import Picture, pictures
from lstm_ray.run_dir import Finding, Report, RunDir

PAGE = "report.html"
CARD = "evaluate/model_card.md"

STAGES: Mapping[str, str] = {
    "environment": "The problem and the machine",
    "explore": "What the data looks like",
    "preprocess": "A regular grid, gaps made explicit, values scaled",
    "split": "Train, validation and test, in order of time",
    "train": "The LSTM learns",
    "plan": "What-if futures, decisions, and whether learning from them helps",
    "tune": "A search for better settings",
    "evaluate": "The test part, read once",
    "deploy": "The policy as a service",
}
"""The stages in their order, with what a reader finds there."""

AGAINST = "Against the baselines"
"""Topic that tables of scores stand under."""

SEVERITIES: Mapping[str, str] = {"warning": "Warning", "advice": "Advice", "info": "Notes"}
"""Findings by how much they matter, with the word on their card."""


@dataclass(frozen=True)
class Topic:
    """What stands under one heading of a stage's section; without a name, all that has no heading."""

    name: str
    id: str
    findings: list[tuple[int, Finding]]
    """With their place among the stage's."""
    tables: list[tables.Table]
    pictures: list[Picture]

    def of(self, *severities: str) -> list[tuple[int, Finding]]:
        return [(at, finding) for at, finding in self.findings if finding.severity in severities]


@dataclass(frozen=True)
class StageView:
    """One stage as its section shows it."""

    name: str
    question: str
    report: Report
    findings: list[Finding]
    """Warnings first."""
    facts: list[tuple[str, str]]
    validation: list[tuple[str, str]]
    topics: list[Topic]

    @property
    def lead(self) -> Picture | None:
        """The picture that says most."""
        return next((picture for topic in self.topics for picture in topic.pictures), None)

    @property
    def headings(self) -> list[Topic]:
        """Topics that have a name."""
        return [topic for topic in self.topics if topic.name]

    @property
    def num_warnings(self) -> int:
        return sum(finding.severity == "warning" for finding in self.findings)

    @property
    def time(self) -> str:
        return words.seconds(self.report.wall_seconds)


@dataclass(frozen=True)
class Tile:
    """One key number at the top."""

    label: str
    value: str
    note: str = ""
    tone: str = ""
    """``good`` or ``bad`` where the note is a verdict; the note says it in words too."""


def write_report(run: RunDir) -> str:
    """Render the page into the run directory, whole or not at all.

    Returns: its path, or its URI on a remote filesystem.
    Raises InputError where a file that it reads is damaged.
    """
    run.write_bytes(PAGE, render(run).encode())
    return f"{run.uri.rstrip('/')}/{PAGE}"


def render(run: RunDir) -> str:
    """The page as text. Stages that have not run are named as such."""
    config_text = run.read_bytes("config.yaml").decode() if run.exists("config.yaml") else ""
    config = _config(config_text, run)
    test = _test_scores(run)
    views = {name: view for name in STAGES if (view := _stage(name, run, test))}
    environment = run.read_json("environment.json") if run.exists("environment.json") else {}
    verdict = scores.verdict(test) if test else None
    task = config.get("task") or (test.task if test else "")
    return filled(
        kind="Run report",
        name=config.get("name") or run.uri.rstrip("/").split("/")[-1],
        task=task,
        verdict=verdict,
        verdict_text=_verdict_text(views),
        tiles=_tiles(views, verdict, task),
        stages=STAGES,
        views=views,
        command="lstm-ray run config.yaml --run-dir again",
        config_text=config_text,
        environment=list(_flat(environment)),
        depends=_depends(run, config, environment),
        further=further.pages(run, PAGE),
    )


def _depends(run: RunDir, config: Mapping[str, Any], environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a repeated run's numbers hang on, beside the configuration."""
    found = [("Seed", str(environment["seed"]))] if "seed" in environment else []
    folds = (config.get("evaluate") or {}).get("backtest") or {}
    if found and folds.get("seeds", 1) > 1:
        found.append(("Seeds of the folds", f"{environment['seed']} to {environment['seed'] + folds['seeds'] - 1}"))
    if data := environment.get("data"):
        told = f"{words.number(data['files'])} file{'s' * (data['files'] != 1)}, {words.number(data['bytes'])} bytes"
        # The whole of the hash stands in the environment's table.
        found.append(("Data", f"{told}, SHA-256 {data['sha256'][:12]}…" if data.get("sha256") else told))
    if run.exists(CARD):
        found.append(("Model card", CARD))
    return found


def filled(*, views: Mapping[str, StageView], verdict: scores.Verdict | None = None, **values: Any) -> str:
    """The page around some sections; ``values`` are what ``page.html`` names besides."""
    scripts = {"page": _text("page.js") + _text("plots.js"), "plotly": _plotly()}
    given = {
        "policy": _content_security_policy(scripts.values()),
        "style": Markup(_text("page.css")),
        "scripts": {name: Markup(text) for name, text in scripts.items()},
        "part": "test",
        "badge": True,
        "further": [],
        "depends": [],
        "metric": scores.metric(verdict.name) if verdict else None,
        "longest": max((view.report.wall_seconds for view in views.values()), default=0) or 1,
        "warnings": [(view, at) for view in views.values() for at in range(view.num_warnings)],
        "severities": SEVERITIES,
    }
    return _template().render(given | {"views": views, "verdict": verdict} | values)


def _stage(name: str, run: RunDir, test: scores.Scores | None) -> StageView | None:
    report = run.report(name)
    if report is None:
        return None
    if name == "evaluate" and run.exists(AUDIT):
        report = _with_audit(report, run)
    return section(name, STAGES[name], report, run.figures(name), test if name == "evaluate" else None, run)


def _with_audit(report: Report, run: RunDir) -> Report:
    """The stage's report with what an audit of the run found beside it."""
    told = run.read_json(AUDIT)
    try:
        findings = TypeAdapter(list[Finding]).validate_python(told["findings"])
        tables = [*(report.model_extra or {}).get("tables", []), *told["tables"]]
    except (ValidationError, KeyError, TypeError) as error:
        raise InputError(f"'{run.uri}/{AUDIT}' is damaged ({error}); audit the run again") from None
    return report.model_copy(update={"findings": [*report.findings, *findings], "tables": tables})


def section(
    name: str, question: str, report: Report, figures: Sequence[Figure], test: scores.Scores | None, run: RunDir
) -> StageView:
    """What a report and its figures are shown as.

    Args:
        test: scores whose tables stand with what is said against the baselines.
        run: where the report lies, to be named in errors.
    """
    extra, validation = dict(report.model_extra or {}), report.validation or {}
    try:
        own = TypeAdapter(list[tables.TableData]).validate_python(extra.pop("tables", None) or [])
    except ValidationError as error:
        raise _damaged(run, f"{name}/report.json", error.errors()[0]["msg"], name) from None
    findings = sorted(report.findings, key=lambda finding: list(SEVERITIES).index(finding.severity))
    return StageView(
        name=name,
        question=question,
        report=report,
        findings=findings,
        facts=[(words.label(key), words.fact(key, value)) for key, value in extra.items() if _is_fact(value)],
        validation=[(scores.metric(key).label, words.number(validation[key])) for key in scores.ordered(validation)],
        topics=_topics(name, extra.get("topics") or [], findings, own, figures, test),
    )


def _topics(
    stage: str,
    order: Sequence[str],
    findings: Sequence[Finding],
    own: Sequence[tables.TableData],
    figures: Sequence[Figure],
    test: scores.Scores | None,
) -> list[Topic]:
    """The stage's headings in the order that it gives, others after them, and what stands under each."""
    others = [[one.topic for one in figures], [one.topic for one in own], [one.topic for one in findings]]
    names = list(dict.fromkeys([*order, *(name for some in others for name in some)]))
    told = []
    for name in names:
        shown = [tables.from_stage(table) for table in own if table.topic == name]
        if test and name == (AGAINST if AGAINST in names else names[0]):
            shown[:0] = tables.of_scores(test)
        id = f"{stage}-{re.sub(r'[^a-z0-9]+', '-', name.lower())}"
        under = [(at, finding) for at, finding in enumerate(findings) if finding.topic == name]
        drawn = pictures(stage, [figure for figure in figures if figure.topic == name])
        told.append(Topic(name, id, under, shown, drawn))
    return [topic for topic in told if topic.findings or topic.tables or topic.pictures]


def _tiles(views: Mapping[str, StageView], verdict: scores.Verdict | None, task: str) -> list[Tile]:
    """The key numbers that the stages so far can give."""
    tiles = []
    if verdict:
        rivals = [name for name in scores.POLICY_STAGES if name in views and views[name].validation]
        note = f"best of {', '.join(rivals)} on validation" if len(rivals) > 1 else "the only candidate"
        tiles.append(Tile("Chosen policy", verdict.stage.capitalize(), note))
        tiles.append(_score_tile(verdict))
    # The chosen policy's size, which evaluate tells, takes the place of the base's.
    told = {"train": ("num_parameters", "windows_per_second"), "evaluate": ("num_parameters",)}
    extras = {stage: views[stage].report.model_extra or {} for stage in told if stage in views}
    facts = {key: extra[key] for stage, extra in extras.items() for key in told[stage] if key in extra}
    for key, name, note in (
        ("num_parameters", "Parameters", "weights learned"),
        ("windows_per_second", "Training speed", f"{scores.UNITS.get(task, 'windows')} per second"),
    ):
        if words.is_number(facts.get(key)):
            tiles.append(Tile(name, words.number(round(facts[key])), note))
    if views:
        total = sum(view.report.wall_seconds for view in views.values())
        tiles.append(Tile("Total time", words.seconds(total), f"{len(views)} of {len(STAGES)} stages have run"))
    return tiles


def _score_tile(verdict: scores.Verdict) -> Tile:
    label, value = f"Test {scores.metric(verdict.name).label}", words.number(float(verdict.value))
    if verdict.skill is None or verdict.best_baseline is None:
        return Tile(label, value)
    note = f"skill {words.percent(verdict.skill)} against {verdict.best_baseline}"
    if verdict.interval:
        note += f", 95 % interval {words.percent(verdict.interval[0])} to {words.percent(verdict.interval[1])}"
    return Tile(label, value, note, {"ahead": "good", "behind": "bad"}.get(verdict.standing or "", ""))


def _verdict_text(views: Mapping[str, StageView]) -> str:
    if "evaluate" in views:
        return views["evaluate"].report.summary
    if not views:
        return "No stage has run yet."
    return f"Not evaluated yet: {len(views)} of {len(STAGES)} stages have run, the latest is {list(views)[-1]}."


def _config(text: str, run: RunDir) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise _damaged(run, "config.yaml", str(error), "environment") from None
    if not isinstance(tree, dict):
        raise _damaged(run, "config.yaml", "it holds no keys and values", "environment")
    return tree


def _test_scores(run: RunDir) -> scores.Scores | None:
    return scores_of(run, "evaluate/metrics.json") if run.exists("evaluate/metrics.json") else None


def scores_of(run: RunDir, path: str) -> scores.Scores:
    """Scores as an evaluation left them. Raises InputError where the file is damaged."""
    try:
        return scores.Scores.model_validate(run.read_json(path))
    except ValidationError as error:
        fault = error.errors()[0]
        reason = f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
        raise _damaged(run, path, reason, "evaluate") from None


def _damaged(run: RunDir, path: str, reason: str, stage: str) -> InputError:
    return InputError(f"'{run.uri}/{path}' is damaged ({reason}); run the stage '{stage}' again with --force")


def _is_fact(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and 0 < len(value) <= 120)


def _flat(tree: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Nested values as (dotted path, text) pairs; lists of plain values stay together."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _flat(value, f"{path}.{key}" if path else str(key))
    elif isinstance(tree, list) and any(isinstance(item, dict | list) for item in tree):
        for index, value in enumerate(tree):
            yield from _flat(value, f"{path}.{index}")
    else:
        # Versions and seeds are names here, not amounts: no thousands separators.
        text = ", ".join(map(str, tree)) if isinstance(tree, list) else words.NOTHING if tree is None else str(tree)
        yield path, text


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"rich": words.rich, "number": words.number}
    return environment.from_string(_text("page.html"))


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


@cache
def _plotly() -> str:
    """The source of plotly.js, taken from the Python package's data without importing the package."""
    spec = find_spec("plotly")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("the report draws with the package 'plotly', which is not installed; pip install 'plotly>=6'")
    source = Path(spec.submodule_search_locations[0]) / "package_data" / "plotly.min.js"
    # Browsers read line ends as \n before they hash a script, and would end it at the first closing tag.
    return source.read_text(encoding="utf-8").replace("\r\n", "\n").replace("</script", "<\\/script")


def _content_security_policy(scripts: Iterable[str]) -> str:
    """Nothing is fetched; only these scripts run. Figures set styles in place, and make images to save."""
    hashes = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts)
    allowed = " ".join(f"'sha256-{value}'" for value in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
