"""The page that readers open: whole, offline, harmless, and true to what the stages left."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from lstm_ray.errors import InputError
from lstm_ray.lifecycle import STAGES as LIFECYCLE
from lstm_ray.report.page import STAGES, StageView, _tiles, render, write_report
from lstm_ray.run_dir import REPORT, Finding, Report, RunDir

from .fake_run import CONFIG, METRICS, NASTY
from .parsed import Element, parse

MakeRun = Callable[..., RunDir]


def _executable(page: Element) -> list[Element]:
    return [script for script in page.all("script") if "type" not in script.attributes]


def _section(page: Element, stage: str) -> Element:
    return page.by_id(stage)


def test_the_page_lies_at_the_top_of_the_run(make_run: MakeRun) -> None:
    run = make_run()
    assert run.local is not None
    path = Path(write_report(run))
    assert path == run.local / "report.html"
    assert path.read_text(encoding="utf-8") == render(run)


def test_the_stages_are_those_of_the_lifecycle_in_its_order() -> None:
    assert list(STAGES) == list(LIFECYCLE)


def test_every_stage_that_ran_has_a_section_with_its_time_and_summary(make_run: MakeRun) -> None:
    run = make_run()
    page = parse(render(run))
    for stage in STAGES:
        report = run.report(stage)
        assert report is not None
        section = _section(page, stage)
        seconds = f"{report.wall_seconds:.2f}" if report.wall_seconds < 1 else f"{report.wall_seconds:.1f}"
        assert [took.text for took in section.all(of_class="took")] == [f"Time: {seconds}\N{NO-BREAK SPACE}s"]
        assert report.summary in section.text


def test_stages_that_have_not_run_are_named_as_such(make_run: MakeRun) -> None:
    page = parse(render(make_run("environment", "explore", "train")))
    (strip,) = page.all("section", of_class="lifecycle")
    state = {item.all(of_class="name")[0].text: item.classes for item in strip.all("li")}
    assert {name for name, classes in state.items() if "run" in classes} == {"Environment", "Explore", "Train"}
    missing = [stage for stage in STAGES if stage not in ("environment", "explore", "train")]
    for item in strip.all("li", of_class="missing"):
        assert "not run" in item.text
    pending = page.by_id("not-run").words
    assert all(f"lstm-ray {stage} config.yaml" in pending for stage in missing)
    assert not [element for element in page if element.attributes.get("id") in missing]


def test_a_run_without_any_stage_still_has_a_page(tmp_path: Path) -> None:
    page = parse(render(RunDir(tmp_path / "empty")))
    assert page.all("h1")[0].text == "empty"
    assert page.all(of_class="verdict")[0].text == "No stage has run yet."
    assert len(page.all("li", of_class="missing")) == len(STAGES)


def test_a_stage_without_findings_tables_or_figures_is_only_its_summary(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    with run.stage("split", "0") as work:
        work.write_json(REPORT, Report(stage="split", summary="Done.", wall_seconds=0.5))
    section = _section(parse(render(run)), "split")
    assert "Done." in section.text
    assert not section.all("ul") + section.all("table") + section.all("figure")


@pytest.mark.parametrize("nasty", [False, True])
def test_nothing_is_loaded_from_a_network(make_run: MakeRun, nasty: bool) -> None:
    page = parse(render(make_run(nasty=nasty)))
    for element in page:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            value = element.attributes.get(name, "#")
            assert value.startswith(("#", "data:")), f"<{element.tag} {name}={value}>"
    styles = [style.text for style in page.all("style")] + [e.attributes.get("style", "") for e in page]
    assert not [style for style in styles if re.search(r"url\(|@import", style)]


def test_the_security_policy_lets_exactly_the_scripts_of_the_page_run(make_run: MakeRun) -> None:
    page = parse(render(make_run(nasty=True)))
    (policy,) = [
        meta.attributes["content"]
        for meta in page.all("meta")
        if meta.attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    hashes = {base64.b64encode(hashlib.sha256(s.text.encode()).digest()).decode() for s in _executable(page)}
    assert set(rules["script-src"].split()) == {f"'sha256-{value}'" for value in hashes}
    assert rules["default-src"] == "'none'"
    assert "http" not in policy


def test_strings_from_data_never_become_markup(make_run: MakeRun, tmp_path: Path) -> None:
    page = parse(render(make_run(nasty=True)))
    assert len(_executable(page)) == 2
    # plotly.js holds tags in its strings, but scripts have no elements below them.
    assert not page.all("b") + page.all("i")
    assert not [e for e in page if any(name.startswith("on") for name in e.attributes)]
    explore = _section(page, "explore")
    assert NASTY in explore.all(of_class="summary")[0].text
    assert NASTY in [cell.text for cell in explore.all("td")]
    assert NASTY in page.by_id("reproduce").text
    assert "<i>JFK</i>" in "".join(figure.all("h3")[0].text for figure in page.all("figure") if figure.all("h3"))


def test_names_in_figures_cannot_act_as_plotlys_own_markup(make_run: MakeRun) -> None:
    page = parse(render(make_run(nasty=True)))
    data = [script.text for script in page.all("script") if script.attributes.get("type") == "application/json"]
    assert "&lt;i>JFK&lt;/i>" in json.dumps([json.loads(text) for text in data])
    assert not [text for text in data if "<" in text or "<" in json.dumps(json.loads(text))]


def test_every_figure_has_its_data_once_and_a_description(make_run: MakeRun) -> None:
    run = make_run()
    page = parse(render(run))
    expected = [figure for stage in STAGES for figure in run.figures(stage)]
    data = {
        script.attributes["id"]: json.loads(script.text)
        for script in page.all("script")
        if script.attributes.get("type") == "application/json"
    }
    plots = page.all(of_class="plot")
    assert len(data) == len(expected) > 10
    assert len(plots) == len(expected) + 1, "the figure at the top is drawn from the same data"
    for plot in plots:
        assert data[plot.attributes["data-source"]]["traces"]
        assert plot.attributes["role"] == "img"
        assert plot.attributes["aria-label"]
    captions = [caption.text for caption in page.all("figcaption")]
    assert all(figure.caption in captions for figure in expected)


def test_ids_are_unique_and_every_link_leads_somewhere(make_run: MakeRun) -> None:
    for run in (make_run("explore"), make_run()):
        page = parse(render(run))
        ids = [element.attributes["id"] for element in page if "id" in element.attributes]
        assert len(ids) == len(set(ids))
        links = [element.attributes["href"] for element in page if element.attributes.get("href", "").startswith("#")]
        assert not {link[1:] for link in links} - set(ids)
        named = [element.attributes["aria-labelledby"] for element in page if "aria-labelledby" in element.attributes]
        assert not set(named) - set(ids)


def test_headings_go_down_one_level_at_a_time(make_run: MakeRun) -> None:
    page = parse(render(make_run()))
    levels = [int(element.tag[1]) for element in page if re.fullmatch(r"h[1-6]", element.tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_the_best_of_each_column_is_marked_even_where_the_policy_loses(make_run: MakeRun) -> None:
    table = _section(parse(render(make_run())), "evaluate").all("table")[0]
    heads = [head.all("button")[0].text for head in table.all("th")]
    best = {
        (row.all("td")[0].text.split("\n")[0].split(" chosen")[0], heads[at])
        for row in table.all("tr")[1:]
        for at, cell in enumerate(row.all("td"))
        if "best" in cell.classes
    }
    assert best == {
        (who, name)
        for who, name in [
            ("policy (tune)", "MAE"),
            ("ridge", "RMSE"),
            ("policy (tune)", "MASE"),
            ("policy (tune)", "sMAPE"),
        ]
    }
    assert all("★" in cell.text for cell in table.all("td", of_class="best")), "weight and colour are not the only sign"


def test_training_speed_counts_what_the_task_counts(make_run: MakeRun) -> None:
    run = make_run("environment", "train")
    text = run.read_bytes("config.yaml").decode()
    run.write_bytes("config.yaml", re.sub("^task: forecast$", "task: label", text, flags=re.M).encode())
    (tiles,) = parse(render(run)).all("dl", of_class="tiles")
    assert "48,327 labelled steps per second" in " ".join(dd.text for dd in tiles.all("dd"))


def test_the_top_says_who_is_ahead_and_by_how_much(make_run: MakeRun) -> None:
    page = parse(render(make_run()))
    assert page.all("h1")[0].text == "weather"
    assert page.all(of_class="badge")[0].words == "Ahead of every baseline on test MAE"
    (tiles,) = page.all("dl", of_class="tiles")
    said = {tile.all("dt")[0].text: " ".join(dd.text for dd in tile.all("dd")) for tile in tiles.all("div")}
    assert said["Chosen policy"].startswith("Tune best of train, plan, tune")
    assert said["Test MAE"].replace("\N{NO-BREAK SPACE}", " ") == (
        "3.841 skill +11.1 % against ridge, 95 % interval +7.2 % to +15.1 %"
    )
    assert said["Parameters"] == "92,312 weights learned"
    assert said["Training speed"] == "48,327 windows per second"
    assert said["Total time"] == "2\N{NO-BREAK SPACE}min\N{NO-BREAK SPACE}03\N{NO-BREAK SPACE}s 9 of 9 stages have run"


def test_the_top_admits_a_loss(make_run: MakeRun) -> None:
    run = make_run()
    lost = METRICS | {"metrics": {"mae": 5.0}, "skill_interval": [-0.3, -0.1]}
    run.write_json("evaluate/metrics.json", lost)
    page = parse(render(run))
    assert page.all(of_class="badge")[0].words == "Behind the ridge on test MAE"
    assert "behind" in page.all(of_class="badge")[0].classes


def test_warnings_stand_at_the_top_and_lead_to_their_cards(make_run: MakeRun) -> None:
    page = parse(render(make_run()))
    (attention,) = page.all("section", of_class="attention")
    for link in attention.all("a"):
        card = page.by_id(link.attributes["href"][1:])
        assert "warning" in card.classes
        assert card.all("p")[1].text in link.text
    assert len(attention.all("a")) == 2


def test_advice_shows_the_setting_as_code(make_run: MakeRun) -> None:
    cards = _section(parse(render(make_run())), "explore").all("li", of_class="finding")
    assert [code.text for card in cards for code in card.all("code")] == [
        "preprocess.max_gap_steps: 24",
        "preprocess.outliers: clip",
    ]


def test_a_table_aligns_numbers_and_names_its_best_row(make_run: MakeRun) -> None:
    table = _section(parse(render(make_run())), "tune").all("table")[0]
    assert ["number" in head.classes for head in table.all("th")] == [False, True, True, True]
    (row,) = table.all("tr", of_class="highlight")
    assert row.all("td")[0].all(of_class="tag")[0].text == "best"
    assert all(float(cell.attributes["data-sort"]) for cell in row.all("td", of_class="number"))


def test_reproduce_says_what_numbers_hang_on_beside_the_configuration(make_run: MakeRun) -> None:
    run = make_run()
    known = run.read_json("environment.json")
    run.write_json("environment.json", known | {"data": {"files": 2, "bytes": 1234, "sha256": "ab12"}})
    run.write_bytes("evaluate/model_card.md", b"# weather")
    text = parse(render(run)).by_id("reproduce").text
    for words in ("Seed", "2 files, 1,234 bytes", "ab12", "evaluate/model_card.md"):
        assert words in text


def test_reproduce_holds_the_configuration_and_the_environment(make_run: MakeRun) -> None:
    section = parse(render(make_run("environment"))).by_id("reproduce")
    blocks = [pre.text for pre in section.all("pre")]
    assert CONFIG.strip() in [block.strip() for block in blocks]
    rows = {row.all("th")[0].text: row.all("td")[0].text for row in section.all("tr")}
    assert rows["versions.torch"] == "2.13.0"
    assert rows["hardware.memory_bytes"] == "25769803776"


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("config.yaml", b"name: [", "config.yaml"),
        ("config.yaml", b"just words", "no keys and values"),
        ("evaluate/metrics.json", b'{"task": "forecast"}', "evaluate/metrics.json.*policy"),
        ("evaluate/metrics.json", b"{", "evaluate/metrics.json"),
    ],
)
def test_a_damaged_file_is_named_with_the_fix(make_run: MakeRun, path: str, content: bytes, message: str) -> None:
    run = make_run()
    run.write_bytes(path, content)
    with pytest.raises(InputError, match=message) as raised:
        write_report(run)
    assert "again" in str(raised.value)
    assert not run.exists("report.html")


def test_a_table_with_a_missing_cell_is_refused(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    ragged = {"title": "Ragged", "columns": ["a", "b"], "rows": [[1, 2], [3]]}
    with run.stage("explore", "0") as work:
        work.write_json(REPORT, Report(stage="explore", summary="Done.", tables=[ragged]))
    with pytest.raises(InputError, match="row 1 of table 'Ragged' has 1 cells, not 2"):
        render(run)


def test_findings_go_from_warnings_to_notes(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    findings = [Finding(severity=severity, text=severity) for severity in ("info", "warning", "advice")]
    with run.stage("explore", "0") as work:
        work.write_json(REPORT, Report(stage="explore", summary="Done.", findings=findings))
    cards = _section(parse(render(run)), "explore").all("li", of_class="finding")
    assert [card.all(of_class="severity")[0].text for card in cards] == ["Warning", "Advice", "Notes"]


def test_a_page_is_written_within_a_second(make_run: MakeRun) -> None:
    run = make_run()
    started = time.perf_counter()
    write_report(run)
    assert time.perf_counter() - started < 1


def test_the_page_needs_no_import_of_plotly() -> None:
    code = "import sys, lstm_ray.report.page as page; page._plotly(); sys.exit('plotly' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_size_on_top_is_the_chosen_policys_where_it_is_known() -> None:
    def view(name: str, **extra: float) -> StageView:
        return StageView(name, "", Report(stage=name, summary="", **extra), [], [], [], [])

    train = view("train", num_parameters=1000, windows_per_second=5.0)
    chosen = view("evaluate", num_parameters=2000)
    before = {tile.label: tile.value for tile in _tiles({"train": train}, None, "forecast")}
    after = {tile.label: tile.value for tile in _tiles({"train": train, "evaluate": chosen}, None, "forecast")}
    assert (before["Parameters"], after["Parameters"]) == ("1,000", "2,000")
    assert before["Training speed"] == after["Training speed"]


def test_what_a_stage_tells_under_headings_stands_there_in_the_stages_order(make_run: MakeRun) -> None:
    run = make_run()
    report = run.report("evaluate")
    assert report is not None
    found = [Finding(severity="info", text=f"Number {at}.", topic=topic) for at, topic in enumerate("BAB")]
    table = {"title": "A's table", "columns": ["a"], "rows": [[1]], "topic": "A"}
    told = {**report.model_dump(), "findings": found, "topics": ["A", "B"], "tables": [table]}
    run.write_json(f"evaluate/{REPORT}", told)
    section = _section(parse(render(run)), "evaluate")
    headings = [one.text for one in section.all("h3") if one.attributes.get("class") == "topic"]
    assert headings[:2] == ["A", "B"]
    links = [link.attributes["href"] for link in section.all(of_class="contents")[0].all("a")]
    assert links[:2] == ["#evaluate-a", "#evaluate-b"]
    text = section.text
    assert text.index(table["title"]) < text.index(found[0].text), "of a heading, all before the next heading"
    assert text.index(found[1].text) < text.index(found[0].text)


def test_pages_that_came_after_the_run_are_linked_with_what_they_say(make_run: MakeRun) -> None:
    run = make_run()
    folders = ["stress", "operate", "monitor/later", "retrain/0001/gate", "unseen/new"]
    for folder in folders:
        run.write_bytes(f"{folder}/report.html", b"a page")
        run.write_json(f"{folder}/report.json", Report(stage="x", summary=f"What {folder} found."))
    # An attempt is a run of its own, whose stages are none of this page's; and a report without a page is no link.
    run.write_json("retrain/0001/train/report.json", Report(stage="train", summary="Trained again."))
    run.write_bytes("retrain/0001/report.html", b"its own page")
    table = parse(render(run)).by_id("further")
    links = [link.attributes["href"] for link in table.all("a")]
    assert sorted(links) == sorted(f"{folder}/report.html" for folder in folders)
    assert all(f"What {folder} found." in table.text for folder in folders)


def test_a_further_page_whose_report_is_damaged_is_linked_all_the_same(make_run: MakeRun) -> None:
    run = make_run()
    run.write_bytes("stress/report.html", b"a page")
    run.write_bytes("stress/report.json", b"{")
    table = parse(render(run)).by_id("further")
    assert [link.attributes["href"] for link in table.all("a")] == ["stress/report.html"]
    assert "damaged" in table.text


def test_a_run_without_further_pages_has_no_such_section(make_run: MakeRun) -> None:
    assert "further-title" not in render(make_run())
