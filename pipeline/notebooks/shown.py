"""How the notebooks show things: one look for charts and tables, and a word on what a run has not left."""

from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd

from pipeline.contracts import read_params
from pipeline.data.source import DataParams
from pipeline.report.charts import records
from pipeline.report.results import read_file

SCHOOL_COLOURS = {"generative": "#D55E00", "discriminative": "#0072B2"}
LABEL_COLOURS = ["#999999", "#D55E00"]
# Okabe & Ito (2008): told apart without red and green.


def begin() -> None:
    """Charts as SVG, which needs no network to be seen; tables with whole tweets."""
    alt.renderers.enable("svg")
    alt.theme.register("notebooks", enable=True)(look)
    alt.data_transformers.disable_max_rows()
    pd.set_option("display.max_colwidth", 200, "display.precision", 3, "display.max_rows", 40)


def look() -> alt.theme.ThemeConfig:
    quiet: dict[str, Any] = {"titleFontWeight": "normal", "gridColor": "#eeeeee", "domainColor": "#888888"}
    return {
        "config": {
            "background": "transparent",
            "view": {"continuousWidth": 520, "continuousHeight": 300, "stroke": "transparent"},
            "axis": quiet,
            "title": {"anchor": "start", "fontSize": 13},
            "font": "Arial, Helvetica, Liberation Sans, sans-serif",  # by whose widths the SVG is laid out
        }
    }


def both_labels() -> list[str]:
    """The names of target 0 and target 1."""
    return read_params("data", DataParams).labels


def by_label() -> alt.Scale:
    return alt.Scale(domain=both_labels()[::-1], range=LABEL_COLOURS[::-1])


def by_school(colours: dict[str, str] = SCHOOL_COLOURS) -> alt.Scale:
    return alt.Scale(domain=list(SCHOOL_COLOURS), range=[colours[school] for school in SCHOOL_COLOURS])


def label_names(targets: pd.Series) -> pd.Series:
    """Targets 0 and 1 in words."""
    return targets.map(dict(enumerate(both_labels())))


def left_by_run(path: str, command: str) -> pd.DataFrame | None:
    """A table (csv or jsonl) that a run has left; without it, None and a line that says which command makes it."""
    if not Path(path).is_file():
        print(f"{path} is not there: `{command}` makes it, and this section needs it.")
        return None
    return pd.DataFrame(read_file(Path(path)))


def with_intervals(
    table: pd.DataFrame, name: str, value: str, title: str, *, ends: tuple[str, str], grey: str | None = None
) -> alt.LayerChart:
    """A dot and its interval for each row, from the top; rows that are not true in the column `grey` are grey."""
    base = alt.Chart(table, title=title).encode(alt.Y(f"{name}:N", sort=None, title=None))
    if grey:
        base = base.encode(color=alt.condition(f"datum.{grey}", alt.value("#b2182b"), alt.value("#aaaaaa")))
    span = base.mark_rule().encode(alt.X(f"{ends[0]}:Q", title=value.replace("_", " ")), alt.X2(f"{ends[1]}:Q"))
    return span + base.mark_circle(size=60, opacity=1).encode(alt.X(f"{value}:Q"))


def learning_curves(
    curves: pd.DataFrame, pairs: list[tuple[str, str]], colours: dict[str, str] = SCHOOL_COLOURS
) -> alt.FacetChart:
    """Accuracy by number of labels with its interval, the twins of each pair that has curves together, three pairs in a row."""
    parts = [
        curves[curves["series"] == name].assign(school=school, twins=" and ".join(pair))
        for pair in pairs
        for name, school in zip(pair, SCHOOL_COLOURS, strict=True)
        if {*pair} <= {*curves["series"]}
    ]
    base = alt.Chart(width=220, height=180).encode(
        alt.X("size:Q", scale=alt.Scale(type="log", nice=False), title="labels", axis=alt.Axis(tickCount=4)),
        alt.Color("school:N", scale=by_school(colours), title=None, legend=alt.Legend(orient="top", symbolOpacity=1)),
    )
    line = base.mark_line(point=True).encode(alt.Y("accuracy:Q", scale=alt.Scale(zero=False)))
    band = base.mark_area(opacity=0.15).encode(alt.Y("accuracy_low:Q", title="accuracy"), alt.Y2("accuracy_high:Q"))
    rows = alt.Data(values=records(pd.concat([curves.head(0), *parts])))
    return alt.layer(band, line, data=rows).facet(alt.Facet("twins:N", title=None, sort=None), columns=3)
