"""A run's registry and ledger as lines for a terminal. Reads alone; whoever has the registry goes on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from lstm_ray.errors import InputError
from lstm_ray.registry.account import read
from lstm_ray.registry.flags import flags_of
from lstm_ray.registry.folder import at
from lstm_ray.registry.ledger import Ledger

VERSION = re.compile("[0-9a-f]{64}")
MOST_LETTERS = 90
"""Of a value of an entry's evidence."""


def policy_lines(run: str | Path) -> Iterator[str]:
    """A line for each policy, the newest first, and one for what must be known of it.

    Raises InputError where nothing was ever served or kept.
    """
    folder = _folder(run)
    account = read(folder)
    if account is None:
        raise InputError(f"'{folder / 'served.json'}' cannot be read; 'lstm-ray serve {run}' writes it anew")
    aliases: dict[str, list[str]] = {}
    for alias, version in account.aliases().items():
        aliases.setdefault(version, []).append(alias)
    if account.running is not None:
        aliases[account.running.policy].append("(on probation)")
    rows = [["policy", "name", "alias", "since", "source"]]
    for kept in reversed(account.policies):
        since = kept.since[:16].replace("T", " ")
        rows.append([kept.version[:12], kept.name, " ".join(aliases.get(kept.version, ())), since, kept.source])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    flags = [[], *([*kept.flags, *flags_of(folder, kept.version)] for kept in reversed(account.policies))]
    for row, told in zip(rows, flags, strict=True):
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        yield from (f"{'':14}! {words}" for words in told)


def entry_lines(run: str | Path, number: int) -> Iterator[str]:
    """The last entries, the oldest first: a line each, and one for each piece of evidence."""
    for entry in Ledger(_folder(run)).read()[-number:] if number else ():
        yield f"{entry.sequence:>5}  {entry.time[:19]}  {entry.event:<12}{entry.who}"
        for name, value in entry.evidence.items():
            told = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            if VERSION.fullmatch(told):
                told = told[:12]
            elif len(told) > MOST_LETTERS and name != "why":
                told = f"{told[:MOST_LETTERS]} ..."
            yield f"{'':7}{name}: {told}"


def verified(run: str | Path) -> str:
    """Raises InputError where a line was altered."""
    number, last = Ledger(_folder(run)).verify()
    return f"{number} entries hang together; the last one's SHA-256 is {last}"


def _folder(run: str | Path) -> Path:
    if "://" in str(run):
        raise InputError(f"'{run}' is on no disk of this machine, and has no registry; its server keeps none")
    folder = at(run)
    if not folder.is_dir():
        raise InputError(f"'{run}' has no registry: nothing of it was ever served or kept; 'lstm-ray serve' begins one")
    return folder
