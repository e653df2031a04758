"""Tables and lists in Markdown. Knows nothing of what is in them."""

from __future__ import annotations

from collections.abc import Sequence

from lstm_ray.evaluate.words import listed as all_listed


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: bool = True) -> str:
    """A table whose cells stay in their columns whatever they hold.

    Args:
        numbers: all columns but the first hold numbers, and stand to the right.
    """
    rule = ["---", *["---:" if numbers else "---"] * (len(columns) - 1)]
    return "\n".join("| " + " | ".join(map(cell, line)) + " |" for line in (columns, rule, *rows))


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def listed(words: Sequence[str], most: int = 8) -> str:
    """``a, b and c``; of more than ``most``, how many are left out."""
    return all_listed([*words[:most], *([f"{len(words) - most} more"] if len(words) > most else [])])


def counted(num: int, thing: str) -> str:
    """``1 epoch``, ``3 epochs``, ``4 stretches``."""
    return f"{num:,} {thing}{'' if num == 1 else 'es' if thing.endswith('tch') else 's'}"


def paragraphs(*texts: str) -> str:
    """Those that say something, an empty line between them."""
    return "\n\n".join(text for text in texts if text)


def moment(time: object) -> str:
    """A time to the minute, where its seconds are none."""
    text = str(time)
    return text.removesuffix(":00") if text.count(":") == 2 else text
