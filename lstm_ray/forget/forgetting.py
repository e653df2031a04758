"""``lstm-ray forget``: a series taken out of all that a run stores. Knows where a run stores what; the parts do it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import yaml
from pydantic import ValidationError

from lstm_ray.config import Config, parse
from lstm_ray.errors import InputError, nearest
from lstm_ray.forget.files import Name, mentions
from lstm_ray.forget.stages import RETRAIN, STREAMS, Removed, holds, names, without
from lstm_ray.lifecycle import STAGES, only_one_at_a_time
from lstm_ray.live.names import hashed, key_of
from lstm_ray.model import stored
from lstm_ray.model.stored import POLICY
from lstm_ray.on_ray import forget as on_ray
from lstm_ray.on_ray.forget import Live
from lstm_ray.on_ray.update import note
from lstm_ray.registry.folder import at
from lstm_ray.run_dir import RunDir

SHORTEST = 4
"""Bytes of a name that a search through numbers would not find by chance."""
WRITTEN = (".json", ".jsonl", ".yaml", ".md", ".csv", ".txt", ".log", ".html")


@dataclass
class Forgotten:
    """What was done, what could not be, and what to do next."""

    series: str
    live: Live
    runs: dict[str, Removed]
    """By their folder: '.', and those of retraining."""
    policies: dict[str, str] = field(default_factory=dict)
    """Version and words of those that were flagged."""
    left: list[str] = field(default_factory=list)
    """Files of the run that still hold the name."""
    beyond: list[str] = field(default_factory=list)
    """What lies elsewhere, and was not touched."""
    close: str = ""
    """A hint at a series that is stored, where nothing was found of this one."""

    @property
    def anything(self) -> bool:
        some = any(one.held or one.rows or one.entries for one in self.runs.values())
        return some or bool(self.live.rows or self.live.streams)


def forget(source: str | Path, series: str) -> Forgotten:
    """Take a series out of a run directory and what serves from it, flag the policies that learned from it, tell the ledger.

    Raises InputError where the directory is none on this machine, another process works in it, or something cannot be
    deleted; doing it again goes on.
    """
    run = RunDir(source)
    if run.local is None or not (run.local / "config.yaml").exists():
        raise InputError(
            f"'{source}' is no run directory on this machine: it holds no config.yaml. Name one; what lies on a remote "
            "filesystem is fetched first, and put back"
        )
    folder, config = run.local, _config(run.local)
    keys = config.data.series_id
    streams = Path(config.deploy.streams_dir).expanduser().absolute() if config.deploy.streams_dir else folder / STREAMS
    roots = [folder, *sorted(path for path in (folder / RETRAIN).glob("*") if path.is_dir())]
    with ExitStack() as locks:
        for root in roots:
            locks.enter_context(only_one_at_a_time(RunDir(root)))
        stored_names = {name for root in roots for name in names(root)}
        live = on_ray.forget(folder, series, streams)
        known = bool(live.rows or live.streams) or any(holds(root, series) for root in roots)
        name = Name(series, frozenset(stored_names - {series}), frozenset(_own_words(config)))
        runs = {_named(root, folder): without(root, name, keys, known) for root in roots}
        found = Forgotten(series, live, runs)
        _flag(found, folder)
        found.left = (
            [] if not found.anything else [name for name in _left(folder, series) if name not in _bundles(folder)]
        )
    found.beyond = _beyond(config, roots)
    found.close = nearest(series, stored_names) if not found.anything else ""
    return found


def told(found: Forgotten) -> list[str]:
    """In lines for people."""
    if not found.anything:
        return [f"nothing of '{found.series}' is stored here{found.close}"]
    live = found.live
    where = f" (asked the server at {live.url})" if live.url else ""
    lines = [f"{live.rows:,} live rows and {live.streams:,} streams deleted{where}"]
    for name, one in found.runs.items():
        at_run = "" if name == "." else f"{name}/"
        if one.rows:
            lines.append(f"{sum(one.rows.values()):,} rows out of {_few([at_run + file for file in one.rows])}")
        if one.entries:
            lines.append(f"entries out of {_few([at_run + file for file in one.entries])}")
        if one.whole:
            lines.append(f"removed whole: {_few([at_run + file for file in one.whole])}")
        if one.alone:
            lines.append(f"{at_run}preprocess held no other series: the next run makes it anew from the source")
    for version, words in found.policies.items():
        lines.append(f"policy {version[:12]} is flagged: {words}")
    if found.policies:
        lines.append(
            "policies keep what they learned: run the YAML again and bring the new one with 'lstm-ray update', or let "
            "'lstm-ray retrain' do both"
        )
    lines += [f"still named in {name}: look at it, or remove it" for name in found.left]
    lines += [f"not reached: {words}" for words in found.beyond]
    return lines


def _flag(found: Forgotten, folder: Path) -> None:
    """Flag every policy that may have learned from the series: those of runs whose table held it, and all that are served
    where the first run's did. The ledger is told by a keyed hash of the name."""
    registry = at(folder)
    if not found.anything:
        return
    name = hashed(found.series, key_of(registry))
    day = datetime.now(UTC).date().isoformat()
    deleted = {
        "rows": found.live.rows,
        "streams": found.live.streams,
        "files": sum(_number(r) for r in found.runs.values()),
    }
    for place in _policies(folder):
        root = next((key for key in found.runs if key != "." and place.is_relative_to(folder / key)), ".")
        version = stored.version(stored.read(place))
        if not found.runs[root].held or version in found.policies:
            continue
        words = f"learned from a series that was forgotten on {day} ({name}): train it again"
        if mentions(place / POLICY, found.series):
            words += "; its policy.json holds the name, with numbers of that series"
        on_ray.flag(folder, version, words, {"series": name})
        found.policies[version] = words
    note(folder, "forgotten", {"series": name, **deleted, "policies": list(found.policies)})


def _number(removed: Removed) -> int:
    return len(removed.rows) + len(removed.entries) + len(removed.whole)


def _policies(folder: Path) -> list[Path]:
    return sorted(file.parent for file in folder.rglob(POLICY))


def _bundles(folder: Path) -> set[str]:
    """Files of policies, which are flagged."""
    return {_named(file, folder) for place in _policies(folder) for file in place.iterdir()}


def _left(folder: Path, series: str) -> Iterator[str]:
    """Files that hold the bytes of the name."""
    short = len(series.encode()) < SHORTEST
    for file in sorted(folder.rglob("*")):
        if file.is_file() and (file.suffix in WRITTEN or not short) and mentions(file, series):
            yield _named(file, folder)


def _beyond(config: Config, roots: list[Path]) -> list[str]:
    data = config.data
    sources = [data.source] if isinstance(data.source, str) else list(data.source)
    outside = [
        name
        for name in (*sources, *([data.static_source] if data.static_source else []))
        if not any(Path(name).absolute().is_relative_to(root) for root in roots)
    ]
    return [
        *(
            f"the source {name}: take the series out of it, or it comes back when it is prepared anew"
            for name in outside
        ),
        "forecasts and tables written to other folders, copies and backups, and what MLflow or other servers hold",
        "requests that name the series from now on bring it back: have its callers stop",
    ]


def _own_words(config: Config) -> set[str]:
    """What a series may be called that is something else, too."""
    data = config.data
    return {
        *STAGES,
        *data.series_id,
        *data.numeric,
        *data.categorical,
        *filter(None, (data.time, data.label)),
        config.name,
    }


def _config(folder: Path) -> Config:
    try:
        return parse(yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValidationError, OSError) as error:
        raise InputError(f"'{folder / 'config.yaml'}' is damaged: {str(error).splitlines()[0]}") from None


def _named(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _few(files: list[str]) -> str:
    return ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
