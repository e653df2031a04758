"""Tables of a page: cells as text, what they sort by, what is best. Knows nothing of HTML."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, model_validator

from lstm_ray.report import scores, words

MANY_COLUMNS, SENTENCE = 4, 40
"""Columns, and characters of a cell, beyond which a table takes a page's whole width."""


class TableData(BaseModel):
    """A table as a stage leaves it in its report, under ``tables``."""

    title: str
    columns: list[str]
    rows: list[list[Any]]
    caption: str = ""
    best: int | str | None = None
    """The row to highlight: its index, or what its first cell says."""
    mark: str = "best"
    """The word that the highlighted row carries."""
    topic: str = ""
    """Heading that it stands under, with others."""

    @model_validator(mode="after")
    def _rows_are_as_wide_as_the_columns(self) -> TableData:
        for index, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(f"row {index} of table '{self.title}' has {len(row)} cells, not {len(self.columns)}")
        return self


@dataclass(frozen=True)
class Column:
    name: str
    numeric: bool
    hint: str = ""
    """What is good in this column: ``lower is better``."""


@dataclass(frozen=True)
class Cell:
    text: str
    sort: float | str
    best: bool = False


@dataclass(frozen=True)
class Row:
    cells: list[Cell]
    highlight: bool = False


@dataclass(frozen=True)
class Table:
    title: str
    caption: str
    columns: list[Column]
    rows: list[Row]
    mark: str = "best"
    """The word that a highlighted row carries, for colour is not enough."""

    @property
    def is_wide(self) -> bool:
        """Whether half a page's width would squeeze it: many columns, or sentences in cells."""
        longest = max((len(cell.text) for row in self.rows for cell in row.cells), default=0)
        return len(self.columns) > MANY_COLUMNS or longest > SENTENCE


def from_stage(data: TableData) -> Table:
    """A stage's own table, its ``best`` row highlighted."""
    best = data.best
    if isinstance(best, str):
        best = next((index for index, row in enumerate(data.rows) if str(row[0]) == best), None)
    shown = cells(data.rows)
    columns = [Column(name, _is_numeric(data.rows, index)) for index, name in enumerate(data.columns)]
    rows = [Row(row, highlight=index == best) for index, row in enumerate(shown)]
    return Table(data.title, data.caption, columns, rows, data.mark)


def of_scores(test: scores.Scores) -> list[Table]:
    """The policy beside its baselines on the test part, in own units and standardised; whoever is best is marked."""
    verdict = scores.verdict(test)
    order = list(verdict.baselines) if verdict else []
    own = scores.comparison(test.policy, test.metrics, test.baselines, order)
    unit, who = scores.UNITS[test.task], {"classify": "classifier", "label": "labeller"}.get(test.task, "forecaster")
    caption = f"On the {test.split} part, {test.num_windows:,} {unit}, in the data's own units; the best are starred."
    if own.alone:
        alone = (f"{scores.metric(name).label} {words.number(test.metrics[name])}" for name in own.alone)
        caption += f" Of the policy alone: {', '.join(alone)}."
    tables = [_of_comparison("The policy beside its baselines", caption, who, own)]
    if test.scaled:
        scaled = scores.comparison(test.policy, test.scaled, test.baselines_scaled, order)
        caption = "The same errors on values standardised with the training part's mean and deviation."
        tables.append(_of_comparison("On standardised values", caption, who, scaled))
    return tables


def _of_comparison(title: str, caption: str, who: str, found: scores.Comparison) -> Table:
    columns = [Column(who, numeric=False)]
    for name in found.names:
        known = scores.metric(name)
        columns.append(Column(known.label, True, f"{known.better} is better" if known.better else ""))
    shown = cells([[name, *(values.get(metric) for metric in found.names)] for name, values in found.rows])
    rows = []
    for index, (first, *rest) in enumerate(shown):
        marked = [replace(cell, best=(index, name) in found.best) for name, cell in zip(found.names, rest, strict=True)]
        rows.append(Row([first, *marked], highlight=index == 0))
    return Table(title, caption, columns, rows, mark="chosen")


def cells(rows: list[list[Any]]) -> list[list[Cell]]:
    """Values by row as text, each column with decimals that line up."""
    texts = [words.column(column) for column in zip(*rows, strict=True)]
    return [
        [Cell(texts[at][index], _sort_key(value)) for at, value in enumerate(row)] for index, row in enumerate(rows)
    ]


def _is_numeric(rows: list[list[Any]], at: int) -> bool:
    values = [row[at] for row in rows if row[at] is not None]
    return bool(values) and all(words.is_number(value) for value in values)


def _sort_key(value: Any) -> float | str:
    return value if words.is_number(value) else "" if value is None else str(value)
