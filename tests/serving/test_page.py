"""The page at GET /, in a real browser: what people click, type, see and read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from lstm_ray.monitor.live import Monitor
from lstm_ray.monitor.traffic import Answer, Load, Rows, Tally
from lstm_ray.monitor.unusual import usual
from lstm_ray.serving import explaining, planning
from lstm_ray.serving.api import make_app
from lstm_ray.serving.gate import digest
from tests import made
from tests.monitor import labelled
from tests.serving import browsing, test_planning
from tests.serving import services as serving

HOURS = [f"2024-03-{1 + hour // 24:02}T{hour % 24:02}:00:00Z" for hour in range(40)]
EVIL = "<img src=x onerror=hacked=1>"
CARD = f"""# made

## How good it is

**Its MAE is 1.5**, see `GET /v1/monitor` and [the site](https://example.org/) or [this](javascript:hacked=1).

| model | MAE |
| --- | ---: |
| policy {EVIL} | **1.5** |

- one
- two {EVIL}
"""
QUIETLY = ("error", "warning")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browsing.chromium() as found:
        yield found


@pytest.fixture(scope="module")
def addresses() -> Iterator[Callable[[str], str]]:
    """Servers by what they serve, each started when it is first asked for."""
    policies: dict[str, Callable[[], Any]] = {
        "forecast": serving.forecaster,
        "classify": serving.classifier,
        "label": serving.labeller,
        "value": lambda: serving.labeller("value"),
    }
    with ExitStack() as stack:
        found: dict[str, str] = {}

        def address(what: str) -> str:
            if what not in found:
                app = make_app(serving.service(policies[what](), card=CARD))
                found[what] = stack.enter_context(browsing.served(app))
            return found[what]

        yield address


@pytest.fixture
def opened(browser: Any, addresses: Callable[[str], str], tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens a page of a server and waits for its first answer; in the end, nothing may have gone wrong in it."""
    told: list[str] = []
    contexts = []

    def open_page(
        what: str = "forecast", width: int = 1280, scheme: str = "light", wait: str = "#result svg, .bars"
    ) -> Any:
        address = what if what.startswith("http") else addresses(what)
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            permissions=["clipboard-write", "clipboard-read"],
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: told.append(message.text) if message.type in QUIETLY else None)
        page.on("pageerror", lambda error: told.append(str(error)))
        host = address.split("/")[2]
        page.on("request", lambda r: None if r.url.split("/")[2:3] in ([host], []) else told.append(f"asked {r.url}"))
        page.goto(address)
        page.wait_for_selector(wait)
        return page

    yield open_page
    for context in contexts:
        for page in context.pages:
            page.screenshot(path=tmp_path / "page.png", full_page=True)
        context.close()
    # A refusal is a fault of what was asked, and some tests ask for one.
    assert [text for text in told if "status of 4" not in text] == []


def rows(names: tuple[str, ...] = ("a", "b"), steps: int = 24, delimiter: str = ",", comma: bool = False) -> str:
    """A table of the forecaster's columns, each series at a level of its own."""
    lines = [delimiter.join(("site", "when", "load", "wind", "price", "note"))]
    for level, name in enumerate(names):
        for step in range(steps):
            values = [f"{20 + 5 * level + step % 6 + part / 4:.2f}" for part in range(3)]
            values = [value.replace(".", ",") for value in values] if comma else values
            lines.append(delimiter.join((name, HOURS[step], *values, "x")))
    return "\n".join(lines)


def paste(page: Any, text: str) -> None:
    page.click("#paste")
    page.fill("#pasted", text)
    page.click("#use-pasted")


def curve(page: Any, track: str = "forecast") -> str:
    return str(page.locator(f'#charts path.track[data-track="{track}"]').first.get_attribute("d"))


def press(page: Any, selector: str, key: str, times: int = 1) -> None:
    page.focus(selector)
    for _ in range(times):
        page.keyboard.press(key)


def told(page: Any, selector: str, pattern: str) -> str:
    """The text of an element once it matches."""
    page.wait_for_function(
        "([selector, pattern]) => new RegExp(pattern).test(document.querySelector(selector)?.innerText ?? '')",
        arg=[selector, pattern],
    )
    return str(page.inner_text(selector))


@pytest.mark.parametrize("what", ["forecast", "classify", "label", "value"])
def test_the_page_of_every_task_draws_its_example_and_what_a_change_does(opened: Callable[..., Any], what: str) -> None:
    page = opened(what)
    before = page.inner_html("#charts")
    press(page, "#sliders input", "ArrowRight", 20)
    said = told(page, "#said", "With (load|wind)")
    assert page.inner_html("#charts") != before
    assert {"forecast": "on average", "classify": "points", "label": "class", "value": "on average"}[what] in said
    assert page.locator("#table tbody tr").count() >= 2


def test_a_slider_moved_by_keys_draws_another_forecast_beside_the_first_and_reset_takes_it_away(
    opened: Callable[..., Any],
) -> None:
    page = opened()
    forecast = curve(page)
    assert page.locator("path.track.changed").count() == 0
    press(page, '#sliders [data-column="load"]', "ArrowRight", 10)
    told(page, "#said", r"With load \+")
    first = curve(page, "what if")
    assert first not in ("", forecast)
    press(page, '#sliders [data-column="load"]', "ArrowRight", 20)
    page.wait_for_function("d => document.querySelector('path.track.changed').getAttribute('d') !== d", arg=first)
    page.click("#reset")
    page.wait_for_function("() => !document.querySelector('path.track.changed')")
    assert curve(page) == forecast


def test_the_last_question_wins_though_an_earlier_one_is_answered_later(opened: Callable[..., Any]) -> None:
    page = opened()
    held: list[Any] = []

    def hold_the_first(route: Any) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    page.route("**/v1/what-if", hold_the_first)
    press(page, '#sliders [data-column="load"]', "ArrowRight", 1)
    page.wait_for_timeout(400)
    assert len(held) == 1
    press(page, '#sliders [data-column="load"]', "ArrowRight", 1)
    said = told(page, "#said", "With load")
    held[0].continue_()
    page.wait_for_timeout(300)
    assert page.inner_text("#said") == said


def test_an_amount_is_in_training_deviations_and_percent_and_newest_steps_reach_the_server(
    opened: Callable[..., Any],
) -> None:
    page = opened()
    found = page.evaluate("fetch('v1/policy').then(answer => answer.json())")
    deviation = found["table"]["columns"]["load"]["deviation"]
    assert found["table"] | {"columns": None} == {"time": "when", "series_id": ["site"], "static": [], "columns": None}

    def sent_by(act: Callable[[], None]) -> Any:
        with page.expect_request(
            lambda r: r.url.endswith("what-if") and "load" in r.post_data.split("scenarios")[1]
        ) as asked:
            act()
        return asked.value.post_data_json["scenarios"][0]

    scenario = sent_by(lambda: press(page, '#sliders [data-column="load"]', "End"))
    assert scenario == {
        "name": "what if",
        "column": "load",
        "operation": "shift",
        "value": float(f"{3 * deviation:.3g}"),
    }
    assert sent_by(lambda: press(page, "#steps", "ArrowLeft", 2))["steps"] == 10
    page.select_option("#mode", "percent")
    scenario = sent_by(lambda: press(page, '#sliders [data-column="load"]', "ArrowLeft", 10))
    assert (scenario["operation"], scenario["value"], scenario["steps"]) == ("scale", 0.9, 10)


def test_two_pasted_series_can_be_picked_and_each_gets_its_own_forecast(opened: Callable[..., Any]) -> None:
    page = opened()
    paste(page, rows())
    assert "2 series" in told(page, "#read", "rows")
    assert "Not read: note" in page.inner_text("#read")
    assert (page.input_value("#time-column"), page.input_value("#series-column")) == ("when", "site")
    page.wait_for_function("() => document.querySelector('#source').innerText === 'pasted'")
    before = page.text_content("#table")
    page.select_option("#series", label="b")
    page.wait_for_function("text => document.querySelector('#table').textContent !== text", arg=before)
    assert page.input_value("#series") == "1"
    page.click("#to-example")
    assert page.inner_text("#series option:checked") == "example"


@pytest.mark.parametrize(("delimiter", "comma"), [(",", False), (";", True), ("\t", True)])
def test_a_file_is_read_whatever_its_delimiter_and_decimal_comma(
    opened: Callable[..., Any], tmp_path: Path, delimiter: str, comma: bool
) -> None:
    (tmp_path / "data.csv").write_text(rows(("a",), 24, delimiter, comma))
    page = opened()
    with page.expect_request(lambda r: r.url.endswith("what-if")) as asked:
        page.set_input_files("#file", tmp_path / "data.csv")
    [series] = asked.value.post_data_json["series"]
    assert series["name"] == "a"
    assert series["columns"]["wind"][:2] == [20.25, 21.25]
    assert (series["times"][0], len(series["times"])) == (HOURS[0], 18)
    assert series["future"] == {"price": [20.5, 21.5, 22.5, 23.5, 24.5, 25.5]}
    told(page, "#said", "What came of load is .* off")
    assert page.locator("path.track.came").count() == 1


def test_looking_ahead_from_another_step_is_another_forecast(opened: Callable[..., Any]) -> None:
    page = opened()
    paste(page, rows(("a",), 40))
    told(page, "#said", "What came")
    before = page.inner_text("#origin-said"), page.text_content("#table")
    press(page, "#origin", "ArrowLeft", 3)
    page.wait_for_function("text => document.querySelector('#table').textContent !== text", arg=before[1])
    assert page.inner_text("#origin-said") != before[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (rows(("a",)).replace("20.25", "windy", 1), "wind.*(number|valid)"),
        (rows(("a",)).replace("load", "loud"), "'load' is missing|load"),
        (rows(("a",)).replace(HOURS[3], "2024-03-01T03:30:00Z"), "not by the next step of the grid"),
        (json.dumps({"series": [{"times": HOURS[:12], "columns": {}, "wrong": 1}]}), "wrong.*unknown field"),
    ],
)
def test_a_wrong_series_is_answered_in_the_servers_own_words(opened: Callable[..., Any], text: str, words: str) -> None:
    page = opened()
    with page.expect_response(lambda r: r.url.endswith("what-if") and r.status == 422) as refused:
        paste(page, text)
    said = told(page, "#wrong", words)
    for item in refused.value.json()["detail"]:
        assert item["msg"] in said
    assert not page.is_visible("#charts")
    page.click("#to-example")
    page.wait_for_selector("#charts svg")
    assert not page.is_visible("#wrong")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,2,3\n4,5,6", "must name the columns"),
        ("site,when,load", "no line of values"),
        ("a,b\n1,2,3", "Line 2 has 3 fields"),
        ('{"series": [', "begins like JSON"),
        ('{"what": 1}', "holds no series"),
        ("  ", "nothing to read"),
    ],
)
def test_what_is_no_table_is_told_at_once_and_what_is_shown_stays(
    opened: Callable[..., Any], text: str, words: str
) -> None:
    page = opened()
    before = curve(page)
    paste(page, text)
    told(page, "#fault", words)
    assert curve(page) == before
    assert page.is_visible("#pasted")


def test_records_and_a_body_of_the_documentation_can_be_pasted(opened: Callable[..., Any]) -> None:
    page = opened("classify")
    records = [{"time": HOURS[step], "load": 20.0 + step} for step in range(12)]
    for text in (
        json.dumps(records),
        json.dumps(serving.sequence_body("mine")),
        json.dumps({"series": [{"records": records}]}),
    ):
        with page.expect_response(lambda r: r.url.endswith("what-if")) as answer:
            paste(page, text)
        assert answer.value.status == 200, text
        page.wait_for_selector(".bars")
        assert page.locator("#inputs svg").count() == 1


def test_arrow_keys_read_values_out_of_the_chart(opened: Callable[..., Any]) -> None:
    page = opened()
    page.focus("#charts .chart")
    page.keyboard.press("End")
    last = told(page, "#charts .readout", "forecast")
    assert re.search(
        r"2024, \d\d:00 · forecast [\d.]+ · 80 % interval [\d.]+ to [\d.]+ · 50 % interval [\d.]+ to [\d.]+", last
    )
    assert page.get_attribute("#charts .readout", "aria-live") == "polite"
    page.keyboard.press("Home")
    assert "load" in told(page, "#charts .readout", "load")
    box = page.locator("#charts svg").bounding_box()
    page.mouse.move(box["x"] + box["width"] - 12, box["y"] + 50)
    assert told(page, "#charts .readout", "forecast") == last


def test_a_token_is_asked_for_kept_for_the_tab_and_never_in_an_address(
    browser: Any, opened: Callable[..., Any]
) -> None:
    app = make_app(serving.service(serving.forecaster(), tokens={"token": digest(b"a long secret")}))
    with browsing.served(app) as address:
        page = opened(address, wait="#key:not([hidden])")
        assert not page.is_visible("#main")
        page.fill("#token", "wrong")
        page.keyboard.press("Enter")
        told(page, "#key-said", "not the token")
        page.fill("#token", "a long secret")
        page.keyboard.press("Enter")
        page.wait_for_selector("#charts svg")
        assert not page.is_visible("#key")
        page.reload()
        page.wait_for_selector("#charts svg")
        page.click("#copy")
        told(page, "#done", "Copied")
        command = page.evaluate("navigator.clipboard.readText()")
        assert '-H "Authorization: Bearer $TOKEN"' in command
        assert f"{address}v1/forecast" in command
        assert "secret" not in page.url + command
        # The server was started anew with another token: what is on show stays.
        paste(page, rows())
        told(page, "#said", "What came")
        page.evaluate("sessionStorage.clear()")
        press(page, "#sliders input", "ArrowRight", 20)
        page.wait_for_selector("#key:not([hidden])")
        page.fill("#token", "a long secret")
        page.keyboard.press("Enter")
        told(page, "#said", "With load")
        assert page.inner_text("#source") == "pasted"
        assert page.evaluate("localStorage.length") == 0
        page.goto(f"{address}docs")
        page.wait_for_selector("article")
        page.goto("about:blank")


@pytest.mark.parametrize("what", ["forecast", "classify", "label"])
@pytest.mark.parametrize("width", [360, 390])
def test_a_phone_shows_everything_without_scrolling_sideways(opened: Callable[..., Any], what: str, width: int) -> None:
    page = opened(what, width)
    press(page, "#sliders input", "ArrowRight", 20)
    told(page, "#said", "With")
    if what == "forecast":
        paste(page, rows())
        told(page, "#read", "2 series")
    while (closed := page.locator("details:not([open]):not([hidden]) > summary")).count():
        closed.first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    small = page.evaluate(
        "[...document.querySelectorAll('button, select, summary, nav a, input:not([type=file])')]"
        ".filter(e => e.checkVisibility() && e.getBoundingClientRect().height < 40).map(e => e.outerHTML)"
    )
    assert small == []


def test_dark_mode_follows_the_system_and_the_button_changes_it_for_good(opened: Callable[..., Any]) -> None:
    page = opened(scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    assert dark == "rgb(14, 19, 24)"
    page.click("#theme")
    assert page.evaluate(ground) == "rgb(245, 247, 249)"
    page.reload()
    page.wait_for_selector("#charts svg")
    assert page.evaluate(ground) == "rgb(245, 247, 249)"


CONTRAST = """() => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number)
  const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0)
  const ground = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor)
    if (c.length < 4 || c[3] === 1) return c } return [255, 255, 255] }
  const found = []
  for (const e of document.querySelectorAll('body *')) {
    if (!e.checkVisibility() || ![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || e.disabled) continue
    const style = getComputedStyle(e), colour = style[e.namespaceURI.endsWith('svg') ? 'fill' : 'color']
    if (!colour.startsWith('rgb') || !style.backgroundColor.startsWith('rgb')) continue
    const [a, b] = [light(rgb(colour)), light(ground(e))].sort((x, y) => y - x)
    if ((a + 0.05) / (b + 0.05) < 4.5) found.push(`${e.tagName} ${e.id} ${e.textContent.slice(0, 30)}`)
  }
  return found
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_their_ground_and_every_control_has_a_name(
    opened: Callable[..., Any], scheme: str
) -> None:
    page = opened(scheme=scheme)
    press(page, "#sliders input", "ArrowRight", 20)
    told(page, "#said", "With")
    assert page.evaluate(CONTRAST) == []
    nameless = page.evaluate(
        "[...document.querySelectorAll('button, select, textarea, input:not([type=file])')]"
        ".filter(e => !e.labels?.length && !e.ariaLabel && !e.textContent.trim()).map(e => e.id)"
    )
    assert nameless == []


def test_everything_can_be_reached_by_the_tab_key(opened: Callable[..., Any]) -> None:
    page = opened()
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert {"series", "open", "paste", "chart", "steps", "slider-0", "slider-2", "download", "copy", "look"} <= reached


def test_the_monitor_counts_what_is_asked_and_tells_of_drift(opened: Callable[..., Any]) -> None:
    page = opened()
    before = int(told(page, "#load .value", r"^\d+$"))
    press(page, "#sliders input", "ArrowRight", 1)
    told(page, "#said", "With")
    page.wait_for_function("was => +document.querySelector('#load .value').innerText > was", arg=before)
    assert "no truth has arrived yet" in page.inner_text("#health")
    assert page.locator("#columns tr").count() == 3
    # What is tried here is no input seen in life.
    assert "0 series were read" in page.inner_text("#drift")


def test_the_card_is_shown_and_no_words_from_outside_become_html(opened: Callable[..., Any]) -> None:
    page = opened()
    told(page, "#card-text", "How good it is")
    assert page.locator("#card-text td strong").inner_text() == "1.5"
    assert page.locator("#card-text li").count() == 2
    assert page.locator("#card-text a").evaluate_all("links => links.map(a => a.href)") == ["https://example.org/"]
    assert EVIL in page.inner_text("#card-text")

    def poisoned(route: Any) -> None:
        sent = route.request.post_data
        found = route.fetch(post_data=sent.replace(json.dumps(EVIL), '"wind"') if sent else None)
        body = (
            found.text()
            .replace('"wind"', json.dumps(EVIL))
            .replace('"warnings":[]', f'"warnings":[{json.dumps(EVIL)}]')
        )
        route.fulfill(response=found, body=body)

    for path in ("v1/policy", "v1/what-if", "openapi.json", "v1/monitor"):
        page.route(f"**/{path}", poisoned)
    page.reload()
    told(page, "#warnings", "onerror")
    page.click("#inputs-part summary")
    press(page, "#slider-1", "ArrowRight", 5)
    assert EVIL in told(page, "#said", "With")
    paste(page, rows((EVIL, "b")).replace("wind", EVIL))
    told(page, "#series", "onerror")
    told(page, "#columns", "onerror")
    page.wait_for_timeout(300)
    assert page.locator("img").count() == 0
    assert page.evaluate("window.hacked === undefined")


def troubled() -> Monitor:
    """The account of a policy whose input shifts halfway, and whose error grows with it."""
    clock = [0.0]
    series = labelled.labelled(0).value_TF
    forecasts = usual.forecasts(
        np.zeros((900, 1, 1, 3)) + np.array([-1.0, 0.0, 1.0]), np.ones((900, 1, 1)), 1, ["load"], np.ones(1)
    )
    given = labelled.watched(series, forecasts=forecasts)
    monitor, hour = Monitor(replace(given, coverage=0.8), lambda: clock[0]), made.HOUR
    for step in range(400):
        clock[0] += 3
        values = series[step : step + 1] + (40 if step == 300 else 0)
        tally = Tally(answers=[Answer("a", step * hour, *(np.full((1, 1), v) for v in (0.0, -1.0, 1.0)))], num_series=1)
        tally.loads = {"one": Load(3, 3, 1, 4)}
        tally.rows = [Rows("a", np.array([step * hour]), values)]
        tally.add_request("/v1/forecast", 200, 0.004)
        monitor.merge(tally)
        monitor.observe(Rows("a", np.array([step * hour]), np.full((1, 1), 0.9 if step < 200 else 3.0)))
    return monitor


def test_alarms_anomalies_load_and_the_course_of_the_error_are_told(opened: Callable[..., Any]) -> None:
    here = serving.MonitorHere(serving.forecaster())
    here.monitor = troubled()
    with browsing.served(make_app(serving.service(serving.forecaster(), monitor=here))) as address:
        for width in (1280, 380):
            page = opened(address, width=width)
            assert "times validation's" in told(page, "#alarms li", "Error")
            assert "3 of 4" in page.inner_text("#load")
            assert "far from what the values before it let expect" in page.text_content("#newest")
            assert page.locator("#course-chart path.track").count() == 2, "the error, and its limit"
            page.select_option("#measure", "error")
            assert page.locator("#course-chart path.track").count() == 1
            page.focus("#course-chart")
            page.keyboard.press("End")
            page.keyboard.press("ArrowLeft")
            told(page, "#course-chart .readout", r"live error \d")
            page.locator("#unusual summary").press("Enter")
            assert page.is_visible("#newest")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            page.locator("#monitor").scroll_into_view_if_needed()
            page.goto("about:blank")  # it would go on asking when the server is gone


def test_a_canary_and_a_shadow_are_told_beside_the_champion(opened: Callable[..., Any]) -> None:
    page = opened()

    def with_others(route: Any) -> None:
        own = route.fetch().json()
        compared = {
            "requests": 9,
            "failed": 1,
            "dropped": 0,
            "mean_difference_deviations": 0.25,
            "share_same_class": None,
        }
        compared |= {"mean_ms": 3.0, "champion_mean_ms": 2.0}
        route.fulfill(json=own | {"canary": own | {"share": 0.1}, "shadow": own | {"compared": compared}})

    assert not page.is_visible("#beside")
    page.route("**/v1/monitor", with_others)
    page.click("#look")
    assert "Of 9 copies the shadow failed 1." in told(page, "#compared", "0.25 training deviations")
    assert [row.split()[0] for row in page.locator("#lineup tr").all_inner_texts()] == ["champion", "canary,", "shadow"]
    page.unroute("**/v1/monitor")


def test_true_labels_of_a_file_are_held_against_what_is_told(opened: Callable[..., Any]) -> None:
    page = opened("value")
    paste(page, "when,load,state\n" + "\n".join(f"{HOURS[step]},{20 + step},{step}" for step in range(12)))
    told(page, "#said", "off what the file says on average, over 12 steps")
    assert page.locator("path.track.came").count() == 1
    page = opened("label")
    paste(page, "when,load,state\n" + "\n".join(f"{HOURS[step]},{20 + step},high" for step in range(12)))
    told(page, "#said", "of the 12 labels in the file are told right")


def test_without_a_card_the_page_says_so(opened: Callable[..., Any]) -> None:
    with browsing.served(make_app(serving.service(serving.forecaster()))) as address:
        page = opened(address)
        told(page, "#card-text", "carries no model card")
        page.goto("about:blank")


def test_the_answer_can_be_saved_as_csv(opened: Callable[..., Any]) -> None:
    page = opened()
    press(page, "#sliders input", "ArrowRight", 20)
    told(page, "#said", "With")
    with page.expect_download() as saved:
        page.click("#download")
    lines = Path(saved.value.path()).read_text().splitlines()
    assert lines[0] == "series,time,median,q0.1,q0.25,q0.5,q0.75,q0.9,what if"
    assert len(lines) == 1 + 6
    assert lines[1].startswith("example,2024-")
    assert all(float(cell) for line in lines[1:] for cell in line.split(",")[2:])


def test_a_copied_command_asks_what_the_page_asked(opened: Callable[..., Any]) -> None:
    page = opened()
    page.click("#copy")
    told(page, "#done", "Copied")
    command = page.evaluate("navigator.clipboard.readText()")
    body = json.loads(re.search(r"-d '(.*)'$", command).group(1))  # type: ignore[union-attr]
    assert "/v1/forecast'" in command
    assert "Authorization" not in command
    assert list(body) == ["series"]
    assert len(body["series"][0]["times"]) == 12


def test_several_targets_are_drawn_each_and_rows_without_times_are_counted(opened: Callable[..., Any]) -> None:
    config = made.make_config(data__target=["load", "heat"], data__time=None, model__quantiles=[0.1, 0.5, 0.9])
    schema = made.schema_of(target=("load", "heat"), is_time=False)
    policy = made.random_policy(config, made.segments_of((240,), schema=schema))
    with browsing.served(make_app(serving.service(policy, card=CARD))) as address:
        page = opened(address)
        assert page.locator("#charts svg").count() == 2
        page.select_option("#target", "heat")
        assert page.locator("#charts figcaption").all_inner_texts() == ["heat"]
        lines = "\n".join(f"{20 + step % 6};{30 - step % 6},5;{step}" for step in range(15))
        with page.expect_request(lambda r: r.url.endswith("what-if")) as asked:
            paste(page, f"load;heat;wind\n{lines}")
        [series] = asked.value.post_data_json["series"]
        assert series["times"] == list(range(15))
        assert series["columns"]["heat"][:2] == [30.5, 29.5]
        assert page.inner_text("#time-column option:checked") == "none"
        page.wait_for_selector("#charts svg")
        assert not page.is_visible("#wrong")
        page.goto("about:blank")


def test_a_plan_is_found_drawn_and_told(opened: Callable[..., Any]) -> None:
    async def plan(inputs: Any) -> Any:
        return planning.plan(test_planning.POLICY, inputs, 10.0)

    app = make_app(serving.service(test_planning.POLICY, plan=plan))
    with browsing.served(app) as address:
        page = opened(address)
        page.click("#find-plan")
        assert "The plan costs" in told(page, "#plan-said", "costs")
        assert page.locator("#plan-charts figure").count() == 3
        page.wait_for_selector('#plan-charts path[data-track="under the plan"]', state="attached")
        page.goto("about:blank")


def test_the_page_works_below_a_path_prefix(opened: Callable[..., Any]) -> None:
    app = make_app(serving.service(serving.classifier(), card=CARD))
    with browsing.served(Starlette(routes=[Mount("/below/here", app)])) as address:
        page = opened(f"{address}below/here/")
        told(page, "#load .value", r"\d")
        page.goto(f"{address}below/here/docs")
        assert page.wait_for_selector("article h2").inner_text() == "POST /v1/classify"
        page.goto("about:blank")


def test_the_routes_are_told_on_a_page_of_their_own(opened: Callable[..., Any]) -> None:
    page = opened("forecast")
    page.click("nav a[href=docs]")
    page.wait_for_selector("article")
    assert "POST /v1/forecast" in page.inner_text("#list")
    page.click("summary >> nth=0")
    assert "12 values in all" in page.inner_text("article >> nth=0")


def test_why_is_asked_for_once_its_part_is_opened(opened: Callable[..., Any]) -> None:
    policy = serving.forecaster()

    async def explain(inputs: Any) -> Any:
        return explaining.explain(policy, inputs)

    with browsing.served(make_app(serving.service(policy, explain=explain))) as address:
        page = opened(address)
        assert page.locator("#why-charts svg").count() == 0
        page.click("#why-part summary")
        told(page, "#why-said", "integrated gradients")
        assert page.locator("#why-charts svg").count() == 2
        assert re.search("load .*wind", page.inner_text("#why-charts figure:first-child p"), re.DOTALL) is not None
