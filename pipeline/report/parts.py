"""What a section of the page is made of: tables, figures and explained tweets. Plain text throughout; the template escapes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

from pipeline.tables import Column, Table

Records = list[dict[str, Any]]
Spec = dict[str, Any]


class About(NamedTuple):
    """What every section may ask for beside its own results."""

    schools: Mapping[str, str]
    """By classifier."""
    labels: list[str]
    costs: pd.DataFrame
    rows: int = 50
    """The most of a table of tweets, for each classifier where it is of one."""

    def classifier(self, column: str = "classifier", title: str = "Classifier") -> Column:
        """A column of names with their schools' marks."""
        return Column(title, column, schools=self.schools)

    def best_first(self, found: pd.DataFrame) -> pd.DataFrame:
        """Rows of several classifiers in the order of the comparison, so that a choice begins with the best."""
        places = {name: place for place, name in enumerate(self.schools)}
        return found.sort_values("classifier", key=lambda names: names.map(places), kind="stable")

    def school_of(self, names: Sequence[str]) -> list[str]:
        return [self.schools.get(name, "other") for name in names]


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


@dataclass(frozen=True)
class Section:
    name: str
    """Unique in the page; with blanks for hyphens it is the heading, and what the way to it says."""
    lead: str
    parts: list[Table | Figure] = field(default_factory=list)
    explained: list[dict[str, Any]] = field(default_factory=list)
    """Tweets, and what each classifier saw in them."""

    @property
    def heading(self) -> str:
        return self.name.replace("-", " ").capitalize()
