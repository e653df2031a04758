"""What a suite found: figures with their targets, as tables for people and one line of JSON. Measures nothing itself."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lstm_ray import __version__
from lstm_ray.environment import PACKAGES

DIGITS = 6
WIDTH = 160
"""Columns of the tables where no terminal says how many there are."""


@dataclass(frozen=True)
class Figure:
    """One measured number, and what it should be."""

    name: str
    value: float
    unit: str
    target: float | None = None
    """None: nothing was promised."""
    at_most: bool = False
    """Whether the target is a ceiling (errors, seconds) or a floor."""
    kept: bool | None = None
    """Whether what was promised was kept, where that is no matter of the value."""

    @property
    def holds(self) -> bool | None:
        """Whether the target is met; None where nothing was promised."""
        if self.target is None:
            return self.kept
        return self.value <= self.target if self.at_most else self.value >= self.target

    @property
    def wanted(self) -> str:
        """The target in words."""
        return "" if self.target is None else f"{'≤' if self.at_most else '≥'} {self.target:g}"

    def plain(self) -> dict[str, Any]:
        """What programs read."""
        value = float(f"{self.value:.{DIGITS}g}")
        return {"name": self.name, "value": value, "unit": self.unit, "target": self.target, "holds": self.holds}


@dataclass(frozen=True)
class Sheet:
    """A table for people beside the figures; numbers already as words."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Results:
    """Everything a suite has to say."""

    figures: list[Figure] = field(default_factory=list)
    sheets: list[Sheet] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What was left out, and how to read the rest."""
    seeds: list[int] = field(default_factory=list)

    def add(self, other: Results) -> None:
        """Append what another part of the suite found."""
        self.figures.extend(other.figures)
        self.sheets.extend(other.sheets)
        self.notes.extend(other.notes)
        self.seeds.extend(seed for seed in other.seeds if seed not in self.seeds)


def show(suite: str, results: Results, quick: bool) -> None:
    """Print the tables, the notes and, last, one line of JSON."""
    facts, found = machine(), [figure.plain() for figure in results.figures]
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    for sheet in results.sheets:
        _print_table(console, sheet.title, sheet.columns, sheet.rows)
    promised = [f for f in results.figures if f.target is not None]
    rows = [[f.name, _words(f.value), f.unit, f.wanted, "yes" if f.holds else "NO"] for f in promised]
    if rows:
        _print_table(console, f"Targets of suite {suite}", ["figure", "value", "unit", "target", "holds"], rows)
    for note in results.notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    memory = f"{facts['memory_bytes'] / 2**30:.0f} GiB"
    where = f"{facts['cpu']}, {facts['cores']} cores, {memory}, {facts['gpu'] or 'no GPU'}"
    console.print(f"measured on {_today()}: {where}", markup=False, soft_wrap=True)
    line: dict[str, Any] = {"suite": suite, "date": _today(), "quick": quick, "seeds": results.seeds}
    line |= {"machine": facts, "versions": versions(), "notes": results.notes, "figures": found}
    print(json.dumps(line, allow_nan=False), flush=True)


def say(words: str) -> None:
    """Progress, on stderr."""
    Console(stderr=True, highlight=False).print(words, markup=False, soft_wrap=True)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpu": gpu_name(),
    }


def versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "lstm_ray": __version__}
    for package in (*PACKAGES, "aeon"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def gpu_name() -> str | None:
    """The first CUDA GPU that torch can use. Asked of the driver's own tool first: torch takes seconds to import."""
    try:
        subprocess.run(["nvidia-smi", "-L"], capture_output=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _print_table(console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(title, markup=False)
    console.print(table)


def _words(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
