"""The config loader, given any text."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lstm_ray.config_file import load
from lstm_ray.errors import InputError
from tests import made
from tests.fuzz.sandbox import held, spoilt

WHOLE = yaml.safe_dump(made.config_tree()).encode()
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
TAGS = [
    "!!int",
    "!!float",
    "!!bool",
    "!!timestamp",
    "!!binary",
    "!!null",
    "!!set",
    "!!omap",
    "!!pairs",
    "!!map",
    "!!seq",
]
ODD = [
    "0x", "0b", "0o", ".", "_", "__", "1:2:3", "0x_", "-", "+", "2024-99-99", "2024-02-30 25:61:00", "9" * 5_000, "1e999",
    ".nan", "~", "''", "[]", "{}", "[[1]]", "{a: 1}", "? [a]", "é", "\\x00", "!!python/object/apply:os.system ['true']",
    "!!python/name:os.system", "!local x", "*nobody", "&a [*a]", "&a {b: *a}", "<<: *nobody", "<<: 3", "=", "on", "0o9", "1_0",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("around") / "run"
    folder.mkdir()
    return folder


def read(folder: Path, content: bytes | str, overrides: list[str] | None = None) -> None:
    file = folder / "config.yaml"
    file.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
    with held(folder):
        load(file, overrides or [])


@SHARED
@given(content=st.text() | st.binary() | spoilt(WHOLE))
def test_any_text_is_a_config_or_refused(folder: Path, content: bytes | str) -> None:
    read(folder, content)


@SHARED
@given(
    place=st.sampled_from(
        ["seed", "name", "train.batch", "data.target", "data", "model.quantiles", "x", "tune.space", "data.time"]
    ),
    value=st.sampled_from(ODD) | st.text(max_size=12),
    tag=st.sampled_from(["", *TAGS]),
)
def test_any_value_in_any_place_is_a_config_or_refused(folder: Path, place: str, value: str, tag: str) -> None:
    section, _, field = place.rpartition(".")
    line = f"{tag} {value}".replace("\n", " ")
    read(folder, f"name: a\n{section}:\n  {field}: {line}\n" if section else f"{field}: {line}\n")
    read(folder, WHOLE, [f"{place}={line}"])


@SHARED
@given(tree=st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=8,
), place=st.sampled_from(sorted(made.config_tree())))  # fmt: skip
def test_any_tree_in_any_section_is_a_config_or_refused(folder: Path, tree: Any, place: str) -> None:
    read(folder, yaml.safe_dump({**made.config_tree(), place: tree}, allow_unicode=True))


def laughs(levels: int, width: int = 10) -> str:
    lines = ["a0: &a0 [lol]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines) + f"\nname: *a{levels - 1}\n"


BOMBS = {
    "a billion laughs": laughs(10),
    "laughs in a section": laughs(10) + "data: {target: *a9}\ntune: {space: {model.hidden: *a9}}\n",
    "a loop": "name: &a [*a]\n",
    "a loop of keys": "data: &a {b: *a}\n",
    "merged without end": "a0: &a0 {k: 1}\n" + "\n".join(
        f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 9)
    ),
    "deep lists": "name: " + "[" * 20_000,
    "deep and closed": "name: " + "[" * 900 + "]" * 900,
    "deep keys": "\n".join(f"{' ' * n}k:" for n in range(3_000)),
    "many keys": "\n".join(f"k{n}: 1" for n in range(10_000)),
    "a long line": "name: " + "x" * 3_000_000,
    "a long number": "seed: " + "9" * 200_000,
    "a tag of Python": "name: !!python/object/apply:os.system ['touch sentinel']\n",
    "a key twice": "name: a\nname: b\n",
}  # fmt: skip


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_bombs_are_refused_in_words_that_can_be_read(folder: Path, text: str) -> None:
    (folder / "config.yaml").write_text(text)
    began = time.process_time()
    with held(folder), pytest.raises(InputError) as caught:
        load(folder / "config.yaml")
    assert time.process_time() - began < 5
    assert len(str(caught.value)) < 100_000
