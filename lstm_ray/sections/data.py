"""The section of the table: where it is and what its columns mean. Opens none of it."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, model_validator

from lstm_ray.errors import nearest
from lstm_ray.sections.base import Address, Section, without_secret

RESERVED = ("series", "time", "segment", "step")
"""Columns that segments have of their own, beside those of the table."""
OWN_TIME = "step"
"""The time column of sources that have none: wide tables and *.ts files."""
TIME_DELTA = "time_delta"
"""The past input that irregular: time_delta makes up: seconds since the row before."""


class DataConfig(Section):
    """Where the table is and what its columns mean."""

    source: str | list[str] = Field(
        description="CSV (also .csv.gz), Parquet or Arrow files, a folder of them (Hive partitions such as year=2024 become "
        "columns) or a Delta table: a path, a glob, a URI that pyarrow or fsspec opens (s3://, gs://, az://), a http(s) "
        "address, or a list of these; [TRAIN.ts, TEST.ts] with sequences to classify; or a built-in example, 'example:NAME'"
    )
    series_id: list[str] = Field(default=[], description="columns that together name a series; none: one series")
    layout: Literal["long", "wide", "columns"] = Field(
        default="long",
        description="'long': a row per series and time; 'wide': a row per series, its name first and then its values in "
        "order, the files of a list continuing one another; 'columns': a row per time, and a column per series beside "
        "data.time (files of classified sequences, *.ts, say so themselves)",
    )
    time: str | None = Field(
        default=None,
        description="column of time stamps, dates, Unix time or whole numbers; none: the rows of a series are in order",
    )
    time_zone: str | None = Field(
        default=None,
        description="zone of time stamps that name none, such as Europe/Berlin: its daylight saving is undone (of an hour "
        "that comes twice, the first is summer time) and calendar features follow its clock; steps that are declared as whole "
        "days stay on it; none: UTC",
    )
    target: list[str] = Field(default=[], description="numeric columns to forecast; each is a channel")
    past: list[str] = Field(default=[], description="numeric columns known up to the origin")
    known: list[str] = Field(default=[], description="numeric columns known ahead over the horizon (plans, prices)")
    static: list[str] = Field(default=[], description="numeric columns constant within a series")
    static_source: Address | None = Field(
        default=None,
        description="second table with static and categorical columns (those that data.source lacks), a row per series, joined "
        "by data.series_id; for layouts 'wide' and 'columns' its first column may hold their names too",
    )
    licence: str | None = Field(
        default=None, description="licence of the data, as the policy's bundle and its model card shall name it"
    )
    weight: str | None = Field(
        default=None,
        description="numeric column, 0 or above: how much a row counts in the training loss (task: classify: its mean over "
        "the sequence); metrics never use it",
    )
    categorical: list[str] = Field(
        default=[], description="text columns constant within a series, each learned as an embedding"
    )
    label: str | None = Field(
        default=None,
        description="class of a whole sequence, constant in it (task: classify); or class or value of every step, empty where "
        "nobody told it (task: label)",
    )
    label_kind: Literal["auto", "class", "value"] = Field(
        default="auto",
        description="what a step's label is (task: label); 'auto': text, true and false, and at most 20 different whole "
        "numbers are classes, other numbers are values",
    )
    frequency: str | None = Field(
        default=None,
        description="grid step such as 15m, 1h, 1d, or of a calendar, 1mo, 1q, 1y (any day stands for its month); none: the "
        "calendar's where the first rows follow one, or the commonest difference between time stamps",
    )
    irregular: Literal["error", "resample", "time_delta"] = Field(
        default="error",
        description="time stamps off the grid: 'resample' takes the mean of what lies in each step (the last class or word), "
        "steps counted from 1970 in UTC, weeks from Mondays; "
        "'time_delta' reads every row as one step and learns the time since the row before as a past input; 'error' refuses",
    )
    duplicates: Literal["error", "last", "mean", "sum"] = Field(
        default="error",
        description="rows with the same series and time: refuse, keep the last one read, or join their numbers (classes and "
        "words: the last)",
    )

    @model_validator(mode="after")
    def _each_column_has_one_role(self) -> DataConfig:
        seen: dict[str, str] = {}
        roles = {"series_id": self.series_id, "time": _one(self.time), "target": self.target, "past": self.past}
        roles |= {"known": self.known, "static": self.static, "weight": _one(self.weight)}
        roles |= {"categorical": self.categorical, "label": _one(self.label)}
        for role, columns in roles.items():
            for column in columns:
                if column in seen:
                    raise ValueError(f"column '{column}' is both {seen[column]} and {role}; give it one role")
                seen[column] = role
        for column in (*self.numeric, *self.categorical, *_one(self.label)):
            if column in RESERVED:
                raise ValueError(f"column '{column}' has a name that segments use themselves; rename it in the source")
        if self.label_kind != "auto" and not self.label:
            raise ValueError(
                f"label_kind is {self.label_kind}, but no column is named in label; name it or remove this"
            )
        if self.source == []:
            raise ValueError("source is empty, found []; name at least one file")
        for source in self._sources:
            without_secret(source)
        return self

    @model_validator(mode="after")
    def _what_needs_time_stamps_has_them(self) -> DataConfig:
        for name, unused in (("frequency", None), ("time_zone", None), ("irregular", "error"), ("duplicates", "error")):
            value = getattr(self, name)
            if value != unused and (self.time is None or self.layout == "wide"):
                raise ValueError(f"{name} is {value}, but without data.time steps are counted; remove it")
        if self.irregular == "time_delta":
            if self.frequency:
                raise ValueError(
                    f"frequency is {self.frequency}, but irregular: time_delta reads every row as one step, however far from "
                    "the last; remove one of them"
                )
            if TIME_DELTA in {*self.columns} - {*self.past}:
                raise ValueError(
                    f"column '{TIME_DELTA}' is made up by irregular: time_delta; rename yours in the source"
                )
        if self.time_zone is not None:
            try:
                ZoneInfo(self.time_zone)
            except (ValueError, OSError, KeyError):  # a name that is unknown, a path, or a folder of zones
                hint = nearest(self.time_zone, available_timezones())
                hint = hint if "did you mean" in hint else "; write such as Europe/Berlin or UTC"
                raise ValueError(f"time_zone '{self.time_zone}' is no zone{hint}") from None
        return self

    @model_validator(mode="after")
    def _the_source_can_fill_its_roles(self) -> DataConfig:
        joined = [] if self.static_source else [*self.static, *self.categorical]
        if self.static_source and self.layout == "long" and not self.series_id:
            raise ValueError(
                f"static_source is {self.static_source}, but no series_id says which row belongs to which series; name it"
            )
        if self.layout == "wide":
            others = [*self.past, *self.known, *joined, *_one(self.weight), *_one(self.label)]
            if others or len(self.target) > 1 or len(self.series_id) > 1 or self.time not in (None, OWN_TIME):
                found = others or [c for c in (*self.target[1:], *self.series_id[1:], self.time) if c]
                raise ValueError(
                    f"layout 'wide' holds a name and values in every row, nothing else, found a role for {found}; leave "
                    "series_id and time out and make up one name for the target (static columns: data.static_source)"
                )
        if self.layout == "columns":
            if self.time is None:
                raise ValueError("layout 'columns' holds a row for each time, found no data.time; name its column")
            if joined or self.label or len(self.target) > 1 or len(self.series_id) > 1:
                found = [*joined, *_one(self.label), *self.target[1:], *self.series_id[1:]]
                raise ValueError(
                    f"layout 'columns' holds a series in every column without a role, found a role for {found}; make up one "
                    "name for the target and one for series_id, or leave them out (static columns: data.static_source)"
                )
        is_ts = [_suffix(source) == ".ts" for source in self._sources]
        if any(is_ts):
            if not all(is_ts) or len(is_ts) > 2:
                raise ValueError(f"source {self._sources}: give one .ts file, or the training and then the test file")
            if self.label_kind != "auto":
                raise ValueError(f"label_kind is {self.label_kind}, but the label of a .ts file is a class; remove it")
            others = [*self.target, *self.known, *self.static, *self.categorical, *_one(self.weight)]
            if self.layout != "long" or others or self.static_source:
                raise ValueError("a .ts file has dimensions (data.past) and a label alone; leave the other roles out")
        return self

    @property
    def _sources(self) -> list[str]:
        return [self.source] if isinstance(self.source, str) else self.source

    @property
    def is_ts(self) -> bool:
        """The source is sequences to classify in *.ts files, which say themselves what they hold."""
        return any(_suffix(source) == ".ts" for source in self._sources)

    @property
    def has_own_test(self) -> bool:
        """The source tells which sequences are the test part: those of a second .ts file."""
        return self.is_ts and len(self._sources) == 2

    @property
    def awaits_roles(self) -> bool:
        """Roles left empty are filled in when the source is opened, which has not happened yet."""
        if self.layout == "columns":
            return not (self.target and self.series_id)
        return (self.is_ts or self.layout == "wide") and self.time is None

    @property
    def columns(self) -> list[str]:
        """Every column that a role names, in role order."""
        return [*self.series_id, *_one(self.time), *self.numeric, *self.categorical, *_one(self.label)]

    @property
    def numeric(self) -> list[str]:
        """The columns that must hold numbers."""
        return [*self.target, *self.past, *self.known, *self.static, *_one(self.weight)]


def _one(name: str | None) -> list[str]:
    return [name] if name else []


def _suffix(source: str) -> str:
    """How a path or address ends, without a query; lower case."""
    return PurePosixPath(source.partition("?")[0] if "://" in source else source).suffix.lower()
