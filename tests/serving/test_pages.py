"""How the pages and what they load are served: headers, revalidation, and what needs no token."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from lstm_ray.serving.api import make_app
from lstm_ray.serving.gate import digest
from lstm_ray.serving.page import pages
from tests.serving import services as serving
from tests.serving.services import Client

PATHS = [*pages.PAGES, *(pages.ASSETS + name for name in sorted(pages.NAMES))]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Client(make_app(serving.service(serving.classifier(), tokens={"token": digest(b"a long secret")}))) as client:
        yield client


@pytest.mark.parametrize("path", PATHS)
def test_every_file_comes_without_a_token_and_may_run_nothing_from_elsewhere(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["content-type"].split("/")[0] == "text"
    again = client.get(path, headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(path, headers={"if-none-match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/page/pages.py", "/page/", "/page/../gate.py", "/page/%2e%2e/gate.py", "/pagepage.js"]
)
def test_nothing_else_is_served_or_open(client: Client, path: str) -> None:
    assert client.get(path).status_code in (401, 404)
    assert client.get(path, headers={"authorization": "Bearer a long secret"}).status_code == 404


@pytest.mark.parametrize("page", sorted(pages.PAGES.values()))
def test_a_page_loads_what_is_served_and_holds_no_script_or_style_of_its_own(page: str) -> None:
    text = pages._file(page).content.decode()
    assert not re.findall(r"<style|<script>|\son\w+=|style=", text)
    assert {path.removeprefix("page/") for path in re.findall(r'(?:src|href)="(page/[^"]+)"', text)} <= pages.NAMES


def test_scripts_import_one_another_and_never_parse_html() -> None:
    imported = {"theme", "page", "docs"}
    for name in pages.SCRIPTS:
        text = pages._file(f"{name}.js").content.decode()
        imported |= set(re.findall(r"from '\./(\w+)\.js'", text))
        assert not re.findall(r"innerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text)
    assert imported == set(pages.SCRIPTS)
