"""Results as tables: rows of a frame under columns with titles and formats, in Markdown or as cells of the report's page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
from tabulate import tabulate

LOW_HIGH = ("low", "high")
"""The ends of an interval, where a frame has but one."""
Row = Any
"""A row of a frame, by column."""
Format = str | Callable[[float], str]
DASH = "–"
"""Where there is nothing to measure."""
HIGH = (
    "accuracy", "f1", "precision", "recall", "roc_auc", "shared_accuracy", "to_best", "gain", "tweets_per_second", "weight",
)  # fmt: skip
"""Columns in which more is better."""


def short(value: float) -> str:
    """Three digits that matter, however large or small."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def number(value: Any, form: Format = ",.0f", scale: float = 1) -> str:
    """A number in words' company: below zero it has a minus sign, as in charts, and no hyphen."""
    if pd.isna(value):
        return DASH
    return (form(scale * value) if callable(form) else format(scale * value, form)).replace("-", "−")


def interval(
    row: Row, name: str, form: Format = ".3f", scale: float = 1, ends: tuple[str, str] | None = None, unit: str = ""
) -> str:
    """`84.0 [83.0, 85.1]`, the ends being in the columns `<name>_low` and `<name>_high` or as given; alone without any."""
    low, high = (row.get(end) for end in ends or (f"{name}_low", f"{name}_high"))
    value = number(row[name], form, scale)
    if value == DASH:
        return DASH
    known = not (pd.isna(low) or pd.isna(high))
    return value + unit + (f" [{number(low, form, scale)}, {number(high, form, scale)}]" if known else "")


@dataclass(frozen=True)
class Bar:
    """An interval drawn in a cell: where it begins, has its middle (if that is there) and ends, in % of the width."""

    low: float
    middle: float | None
    high: float


@dataclass(frozen=True)
class Cell:
    text: str
    order: float | None = None
    """What the column is sorted by; its text if there is none."""
    bar: Bar | None = None
    school: str | None = None


@dataclass(frozen=True)
class Column:
    title: str
    of: str | Callable[[Row], Any]
    """A column of the frame, or what a row has here."""
    form: Format | None = None
    """Of a number; none for text."""
    scale: float = 1
    ends: tuple[str, str] | None = None
    """The columns of its interval."""
    order: str | None = None
    """The column of numbers that text stands for."""
    wide: bool = False
    """Holds sentences."""
    schools: Mapping[str, str] | None = None
    """By classifier: the page marks them."""
    drawn: tuple[float, float] | None = None
    """The lowest and the highest value, between which the page draws the interval."""

    @property
    def numeric(self) -> bool:
        return bool(self.form or self.order)

    @property
    def best_is_high(self) -> bool:
        """Whether the first click on its heading puts the largest number first: the best one."""
        return (self.order or self.of) in HIGH

    def value(self, row: Row) -> Any:
        return row[self.of] if isinstance(self.of, str) else self.of(row)

    def text(self, row: Row) -> str:
        value = self.value(row)
        if not self.form:
            return DASH if pd.isna(value) else str(value)
        if self.ends and isinstance(self.of, str):
            return interval(row, self.of, self.form, self.scale, self.ends)
        return number(value, self.form, self.scale)

    def cell(self, row: Row) -> Cell:
        order = (row[self.order] if self.order else self.value(row)) if self.numeric else None
        school = self.schools.get(str(self.value(row))) if self.schools else None
        return Cell(self.text(row), None if pd.isna(order) else float(order), self.bar(row), school)

    def bar(self, row: Row) -> Bar | None:
        """The interval as far as it lies inside of what is drawn."""
        if not (self.drawn and self.ends):
            return None
        lowest, highest = self.drawn
        width = (highest - lowest) or 1
        low, middle, high = (
            round(100 * (value - lowest) / width, 2)
            for value in (row[self.ends[0]], self.value(row), row[self.ends[1]])
        )
        if not (low < 100 and high > 0):  # nothing of it is there, or it has no ends
            return Bar(0, None, 0)
        return Bar(max(low, 0), middle if 0 <= middle <= 100 else None, min(high, 100))


def measured(title: str, name: str, form: Format = ".3f", scale: float = 1, **more: Any) -> Column:
    """A metric with its interval, by evaluate's names of columns."""
    return Column(title, name, form, scale, (f"{name}_low", f"{name}_high"), **more)


def points(title: str, name: str = "difference", ends: tuple[str, str] | None = None, form: str = "+.2f") -> Column:
    """A difference of shares with its interval, in percentage points."""
    return Column(title, name, form, 100, ends or (f"{name}_low", f"{name}_high"))


def present(columns: Sequence[Column], frame: pd.DataFrame) -> list[Column]:
    """Those of the columns that the frame has, with something in them."""
    return [column for column in columns if column.of in frame and frame[str(column.of)].notna().any()]


@dataclass(frozen=True)
class Table:
    frame: pd.DataFrame
    columns: Sequence[Column]
    name: str = ""
    """Unique in the page."""
    caption: str = ""
    searchable: bool = False
    by: tuple[str, ...] = ()
    """Titles of the columns that rows are filtered by."""

    @cached_property
    def rows(self) -> list[list[Cell]]:
        return [[column.cell(row) for column in self.columns] for row in self.frame.to_dict("records")]

    @property
    def filters(self) -> list[tuple[str, int, list[str]]]:
        """A title of `by`, which column it is, and what the cells of this say, if more than one thing."""
        titles = [column.title for column in self.columns]
        said = {title: list(dict.fromkeys(row[titles.index(title)].text for row in self.rows)) for title in self.by}
        return [(title, titles.index(title), values) for title, values in said.items() if len(values) > 1]

    def markdown(self) -> str:
        """The table in Markdown, readable as text too: text to the left, numbers to the right."""
        rows = [[column.text(row) for column in self.columns] for row in self.frame.to_dict("records")]
        align = ["right" if column.numeric else "left" for column in self.columns]
        titles = [column.title for column in self.columns]
        return tabulate(rows, headers=titles, tablefmt="pipe", colalign=align if rows else None, disable_numparse=True)


def spread(
    frame: pd.DataFrame, by: Column, across: Mapping[Any, str], column: str, cell: Callable[[Row], str]
) -> Table:
    """A row for each value of one column; across it the cells of some values of another column, each with its title."""
    cells = frame.assign(cell=[cell(row) for row in frame.to_dict("records")])
    wide = cells.pivot_table(index=by.of, columns=column, values="cell", aggfunc="first", sort=False)
    wide = wide.reindex(columns=[*across]).set_axis([*across.values()], axis=1)
    return Table(wide.reset_index(), [by, *(Column(title, title) for title in across.values())])


def page(*parts: str) -> str:
    """Paragraphs and tables, one below the other."""
    return "\n\n".join(parts) + "\n"
