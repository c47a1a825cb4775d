"""What a section of the page is made of: tables, figures and explained tweets. Plain text throughout; the template escapes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Records = list[dict[str, Any]]
Spec = dict[str, Any]


@dataclass(frozen=True)
class Bar:
    """An interval drawn in a table's cell: where it begins, has its middle (if that is there) and ends, in % of the width."""

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
    numeric: bool = False
    wide: bool = False
    """Holds sentences."""


@dataclass(frozen=True)
class Filter:
    """A choice of the rows whose cell in a column says this."""

    title: str
    column: int
    values: list[str]


@dataclass(frozen=True)
class Table:
    name: str
    """Unique in the page."""
    caption: str
    columns: list[Column]
    rows: list[list[Cell]]
    searchable: bool = False
    filters: list[Filter] = field(default_factory=list)


@dataclass(frozen=True)
class Panel:
    """A chart of Vega-Lite, whose rows are the data set `rows`; one spec and one set of rows, or one for each choice."""

    specs: list[Spec]
    rows: list[Records]
    title: str = ""


@dataclass(frozen=True)
class Figure:
    name: str
    caption: str
    description: str
    """What those who don't see the chart are told."""
    panels: list[Panel]
    table: Table
    """The same numbers."""
    choice: str = ""
    """What the choices are of."""
    choices: list[str] = field(default_factory=list)

    def data(self) -> Mapping[str, Any]:
        return {
            "choices": self.choices,
            "panels": [{"specs": panel.specs, "rows": panel.rows} for panel in self.panels],
        }


@dataclass(frozen=True)
class Word:
    text: str
    sign: str
    """`+` speaks for target 1, `−` against; nothing where the word hardly matters."""
    weight: str
    strength: int
    """From 0 to 4: how much, against the weightiest word that this classifier saw in the tweet."""


@dataclass(frozen=True)
class Seen:
    """What a classifier saw in a tweet: words with weights, or the reply that it gave."""

    classifier: str
    school: str
    score: str
    right: bool
    words: list[Word]
    reply: str


@dataclass(frozen=True)
class Explained:
    """A tweet, and what each classifier saw in it."""

    text: str
    label: str
    keyword: str
    seen: list[Seen]


@dataclass(frozen=True)
class Section:
    name: str
    """Unique in the page, and what the way to the section says."""
    title: str
    lead: str
    parts: list[Table | Figure] = field(default_factory=list)
    explained: list[Explained] = field(default_factory=list)
