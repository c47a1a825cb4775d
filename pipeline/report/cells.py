"""Numbers and tweets as cells of tables, and frames as tables."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from pipeline.compare.table import number as as_text
from pipeline.report.parts import Bar, Cell, Column, Filter, Table

Frame = pd.DataFrame
Row = Any
"""A row of a frame, by column."""
DASH = "–"


def text(value: Any) -> Cell:
    return Cell(DASH if pd.isna(value) else str(value))


def number(value: float, digits: int = 0, scale: float = 1, *, sign: bool = False) -> Cell:
    if pd.isna(value):
        return Cell(DASH)
    shown = f"{scale * value:+,.{digits}f}" if sign else as_text(scale * value, digits)
    return Cell(shown, order=float(value))


def short(value: float) -> Cell:
    """Three digits that matter, however large or small."""
    if pd.isna(value):
        return Cell(DASH)
    return Cell(f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}", order=float(value))


def with_ends(row: Row, name: str, low: str, high: str, form: str, scale: float = 1) -> Cell:
    """`84.0 [83.0, 85.1]`; without the ends where there are none."""
    value, ends = row[name], (row[low], row[high])
    if pd.isna(value):
        return Cell(DASH)
    inside = "" if any(map(pd.isna, ends)) else " [" + ", ".join(format(scale * end, form) for end in ends) + "]"
    return Cell(format(scale * value, form) + inside, order=float(value))


def interval(row: Row, metric: str, form: str = ".3f", scale: float = 1) -> Cell:
    """A metric and the ends of its interval, by evaluate's names of columns."""
    return with_ends(row, metric, f"{metric}_low", f"{metric}_high", form, scale)


def barred(row: Row, metric: str, lowest: float, highest: float) -> Cell:
    """The same in percent, drawn too as far as it lies between the lowest and the highest value."""
    cell = interval(row, metric, ".1f", 100)
    width = (highest - lowest) or 1
    low, middle, high = (round(100 * (row[f"{metric}{end}"] - lowest) / width, 2) for end in ("_low", "", "_high"))
    if not (low < 100 and high > 0):  # nothing of it is there, or it has no ends
        return replace(cell, bar=Bar(0, None, 0))
    return replace(cell, bar=Bar(max(low, 0), middle if 0 <= middle <= 100 else None, min(high, 100)))


Column_ = tuple[Column, Callable[[Row], Cell]]


def table(
    name: str, caption: str, frame: Frame, columns: list[Column_], *, search: bool = False, by: Mapping[str, int] = {}
) -> Table:
    """A table with a row for each of the frame's; `by` gives the columns, by title, that rows are filtered by."""
    rows = [[cell(row) for _, cell in columns] for row in frame.to_dict("records")]
    filters = [
        Filter(title, column, list(dict.fromkeys(row[column].text for row in rows))) for title, column in by.items()
    ]
    several = [each for each in filters if len(each.values) > 1]
    return Table(name, caption, [column for column, _ in columns], rows, searchable=search, filters=several)


def named(title: str, column: str, *, wide: bool = False) -> Column_:
    return Column(title, wide=wide), lambda row: text(row[column])


def classifier(schools: Mapping[str, str], column: str = "classifier", title: str = "Classifier") -> Column_:
    """The classifier's name, with its school's mark."""
    return Column(title), lambda row: Cell(str(row[column]), school=schools.get(str(row[column])))


def of_metric(title: str, metric: str, form: str = ".3f", scale: float = 1) -> Column_:
    return Column(title, numeric=True), lambda row: interval(row, metric, form, scale)


def of_number(title: str, column: str, digits: int = 0, scale: float = 1, *, sign: bool = False) -> Column_:
    return Column(title, numeric=True), lambda row: number(row[column], digits, scale, sign=sign)


def of_ends(
    title: str, column: str, low: str = "low", high: str = "high", form: str = ".3f", scale: float = 1
) -> Column_:
    return Column(title, numeric=True), lambda row: with_ends(row, column, low, high, form, scale)
