"""The files of a saved policy: their names, the hashes that hold them together, and those that older versions wrote.

``policy.json`` names every other file that belongs to the policy, with its SHA-256, and is held by its own ``version``. Files
that it does not name are not read, whatever lies beside it. A hash tells a damaged or exchanged file, not who
wrote it: whoever can write all files can write the hashes, too, so what they hold is checked as any input is, and none of it
is ever run.

The version is a hash of all that the policy answers by. What it asks of a cluster is left out of it. So is the model card,
for it names the version and is written anew when a run is audited; its own hash stands in ``files`` as that of every other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from lstm_ray.errors import InputError

FORMAT = 4
POLICY, WEIGHTS = "policy.json", "weights.safetensors"
RESIDUALS, CONFORMAL = "residuals.safetensors", "conformal.safetensors"
SMOKE, CARD = "smoke.json", "model_card.md"
HELD = (WEIGHTS, RESIDUALS, CONFORMAL, SMOKE, CARD)
"""All that ``policy.json`` may name. Nothing else is opened: no other name, no path, no kind of file that can hold code."""
MOST_BYTES = 1 << 33
"""A file larger than 8 GB is no policy's."""
Files = Mapping[str, bytes]
"""Name to content."""
ALTERED = "'{}' was altered after it was saved: the hashes do not match, {}; take a fresh copy"
UNREADABLE = "'{}' holds no readable policy: {}"


def sealed(content: Mapping[str, Any], files: Files) -> dict[str, bytes]:
    """The files of a policy with their ``policy.json``, which names and hashes them.

    Args:
        content: what ``policy.json`` says beside.
        files: of HELD.
    """
    whole = {"format": FORMAT, **content, "files": {name: _sha256(held) for name, held in files.items()}}
    return {**files, POLICY: _told({**whole, "version": _version(whole)})}


def write(folder: Path, files: Files) -> None:
    """Write a policy's files, and remove those that an earlier one left. ``policy.json`` comes last: it speaks for all."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in {*HELD} - {*files}:
        (folder / name).unlink(missing_ok=True)
    for name in sorted(files, key=lambda name: name == POLICY):
        _replace(folder / name, files[name])


def with_card(files: Files, card: str) -> dict[str, bytes]:
    """The same policy, of the same version, with another model card. Raises InputError where the files are none."""
    content, held = opened(files, "the policy"), {**files, CARD: card.encode()}
    if json.loads(files[POLICY])["format"] != FORMAT:
        raise InputError("a policy of an older format has no place for a model card; load and save it first")
    content["files"][CARD] = _sha256(held[CARD])
    return {**held, POLICY: _told(content)}


def version(files: Files) -> str:
    """Of a policy in files that were just made or checked."""
    found: str = json.loads(files[POLICY])["version"]
    return found


def read(folder: str | Path) -> dict[str, bytes]:
    """A saved policy's files from a local folder. Raises InputError where one is missing, or is no file in this folder."""
    folder = Path(folder)
    told = _bytes(folder, POLICY)
    return {POLICY: told, **{name: _bytes(folder, name) for name in names(told, str(folder))}}


def names(told: bytes, where: str) -> list[str]:
    """The files that a ``policy.json`` names. Raises InputError as ``opened`` does."""
    return list(_content(told, where)["files"])


def opened(files: Files, where: str) -> dict[str, Any]:
    """What a policy's ``policy.json`` says, in today's format, after every file it names was held against its hash.

    Raises InputError that begins with ``where``: a file is missing, was altered, is of another format or names what no policy
    holds.
    """
    if POLICY not in files:
        raise InputError(UNREADABLE.format(where, f"it has no {POLICY}"))
    content = _content(files[POLICY], where)
    for name, expected in content["files"].items():
        if name not in files:
            raise InputError(UNREADABLE.format(where, f"{name} is missing; copy the whole folder"))
        if _sha256(files[name]) != expected:
            raise InputError(ALTERED.format(where, f"{name} is not the one that {POLICY} names"))
    return content


def _content(told: bytes, where: str) -> dict[str, Any]:
    """A ``policy.json`` as today's format, checked by itself."""
    content = parsed(told, where)
    found = content.get("format")
    if found == 1:
        raise InputError(
            f"'{where}' has policy format 1, {_FIRST}; train it again, or load it with the version that wrote it"
        )
    if found != FORMAT and (not isinstance(found, int) or found not in UPGRADES):
        read = f"{', '.join(map(str, UPGRADES))} and {FORMAT}"
        raise InputError(f"'{where}' has policy format {found!r}, this version reads {read}")
    version = content.pop("version", None)
    try:
        if version != _version(content):
            raise InputError(ALTERED.format(where, f"{POLICY} says other than its version"))
        for number in range(found, FORMAT):
            content = UPGRADES[number](content)
        files = content["files"]
        if unknown := [name for name in files if name not in HELD]:
            raise InputError(UNREADABLE.format(where, f"it names {unknown[0]!r}, and may name {', '.join(HELD)}"))
        if WEIGHTS not in files:
            raise InputError(UNREADABLE.format(where, f"it names no {WEIGHTS}"))
    except InputError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise InputError(UNREADABLE.format(where, f"{POLICY} is not as a policy is saved ({error!r})")) from None
    return {**content, "version": version}


def parsed(told: bytes, where: str) -> dict[str, Any]:
    """A JSON object. Raises InputError for anything else, a key written twice, NaN and infinity."""
    try:
        content = json.loads(told, object_pairs_hook=_once, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise InputError(UNREADABLE.format(where, error)) from None
    if not isinstance(content, dict):
        raise InputError(UNREADABLE.format(where, f"{POLICY} is no JSON object"))
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is written twice")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def _bytes(folder: Path, name: str) -> bytes:
    """A file's content. Raises InputError where it is none, or a link leads out of the folder."""
    try:
        file = (folder / name).resolve(strict=True)
        if not file.is_relative_to(folder.resolve()):
            raise InputError(
                UNREADABLE.format(folder, f"{name} is a link to '{file}', outside of it; copy the file itself")
            )
        if not file.is_file() or file.stat().st_size > MOST_BYTES:
            raise InputError(UNREADABLE.format(folder, f"{name} is no file of at most {MOST_BYTES / 1e9:.0f} GB"))
        return file.read_bytes()
    except FileNotFoundError:
        raise InputError(UNREADABLE.format(folder, f"{name} is missing; copy the whole folder")) from None
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise InputError(UNREADABLE.format(folder, error)) from None


def _replace(file: Path, content: bytes) -> None:
    """Write a whole file or nothing; a link in its place is replaced, not followed."""
    temporary = file.with_name(f"{file.name}.{uuid4().hex[:8]}.tmp")
    temporary.write_bytes(content)
    temporary.replace(file)


def _told(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1, allow_nan=False).encode()


def _version(content: Mapping[str, Any]) -> str:
    config = content.get("config")
    if isinstance(config, Mapping):
        # What is asked of a cluster is for whoever serves, and changes no answer.
        content = {**content, "config": {name: section for name, section in config.items() if name != "resources"}}
    files = content.get("files")
    if isinstance(files, Mapping):
        content = {**content, "files": {name: held for name, held in files.items() if name != CARD}}
    return _sha256(json.dumps(content, sort_keys=True).encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


_FIRST = (
    "under which networks of several shapes were saved, and outliers and logarithms that today's scaler reads otherwise; its "
    "answers could not be promised to be the same"
)


def _from_2(content: dict[str, Any]) -> dict[str, Any]:
    """Synthetic experience had two settings of its own. No futures' residuals were kept, and none are needed."""
    plan = dict(content["config"]["plan"])
    old = {"synthetic_fraction": "fraction", "epochs": "epochs"}
    if moved := {new: plan.pop(name) for name, new in old.items() if name in plan}:
        plan["synthetic"] = moved
    return {**content, "config": {**content["config"], "plan": plan}}


def _from_3(content: dict[str, Any]) -> dict[str, Any]:
    """Each file's hash stood in a place of its own; the model card lay beside the policy and had none."""
    content = dict(content)
    files = {WEIGHTS: content.pop("weights_sha256")}
    for file in (RESIDUALS, CONFORMAL):
        if (part := content.get(part_of(file))) is not None:
            content[part_of(file)] = {key: value for key, value in part.items() if key != "sha256"}
            files[file] = part["sha256"]
    return {**content, "files": files}


def part_of(file: str) -> str:
    """What ``policy.json`` calls the words that go with a file's arrays."""
    return file.removesuffix(".safetensors")


UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {2: _from_2, 3: _from_3}
"""From each older format to the next."""
