"""What several sub-commands share: options, and words for a terminal."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import typer
from rich.markup import escape

Address = Annotated[
    str, typer.Option("--address", metavar="ADDRESS", help="Ray cluster; default: a local one if needed")
]

PROFILES = ("torch", "py-spy")
Profile = Annotated[
    str,
    typer.Option(
        "--profile", metavar="[torch|py-spy]", help="leave a profile of each stage in RUN/profile; bare: torch"
    ),
]


def named(arguments: Sequence[str]) -> list[str]:
    """Arguments in which a bare --profile says which: torch's."""
    return [
        "--profile=torch" if given == "--profile" and not _is_kind(after) else given
        for given, after in pairwise([*arguments, ""])
    ]


def _is_kind(word: str) -> bool:
    """Is it meant as a kind of profile, be it one or not, and not as what is to be run?"""
    return word in PROFILES or (word.replace("-", "").isalnum() and word[0] != "-" and not os.path.exists(word))


def use(address: str) -> None:
    """Have Ray connect to the cluster at an address; where there is none, to what it finds or starts."""
    if address:
        os.environ["RAY_ADDRESS"] = address


def escaped(words: object) -> str:
    """Brackets, as in a column 'load [MW]', are no markup."""
    return escape(str(words))
