"""The notebooks' charts that take more than a few lines."""

import altair as alt
import numpy as np
import pandas as pd

from pipeline.notebooks.plane import drawn_by_twins
from pipeline.notebooks.shown import SCHOOL_COLOURS, by_label, by_school, label_names

MOST_DOTS = 400


def with_intervals(
    table: pd.DataFrame, name: str, value: str, title: str, *, ends: tuple[str, str], grey: str | None = None
) -> alt.LayerChart:
    """A dot and its interval for each row, from the top; rows that are not true in the column `grey` are grey."""
    base = alt.Chart(table, title=title).encode(alt.Y(f"{name}:N", sort=None, title=None))
    if grey:
        base = base.encode(color=alt.condition(f"datum.{grey}", alt.value("#b2182b"), alt.value("#aaaaaa")))
    span = base.mark_rule().encode(alt.X(f"{ends[0]}:Q", title=value.replace("_", " ")), alt.X2(f"{ends[1]}:Q"))
    return span + base.mark_circle(size=60, opacity=1).encode(alt.X(f"{value}:Q"))


def twins_on_plane(points: np.ndarray, labels: np.ndarray, title: str) -> alt.LayerChart:
    """Points of shape (n, 2), of which at most 400 are drawn, with labels (n,) and what the twins make of them."""
    ellipses, lines = drawn_by_twins(points, labels)
    dots = pd.DataFrame(points, columns=["x", "y"]).assign(label=label_names(pd.Series(labels))).head(MOST_DOTS)
    school = alt.Color("what:N", scale=by_school(), title=None)
    seen = alt.Chart(dots, title=title, width=300, height=300).mark_circle(opacity=0.5)
    around = alt.Chart(ellipses).mark_line(color="black", strokeWidth=1)
    boundaries = alt.Chart(lines).mark_line(strokeWidth=3)
    return alt.layer(
        seen.encode(
            alt.X("x:Q", title=None), alt.Y("y:Q", title=None), alt.Color("label:N", scale=by_label(), title=None)
        ),
        around.encode(x="x:Q", y="y:Q", detail="what:N", order="step:Q"),
        boundaries.encode(x="x:Q", y="y:Q", color=school),
    ).resolve_scale(color="independent")


def learning_curves(curves: pd.DataFrame, pairs: list[tuple[str, str]]) -> alt.FacetChart:
    """Accuracy by number of labels with its interval, the twins of each pair side by side."""
    parts = [
        curves[curves["series"] == name].assign(school=school, twins=" and ".join(pair))
        for pair in pairs
        for name, school in zip(pair, SCHOOL_COLOURS, strict=True)
    ]
    base = alt.Chart(pd.concat(parts), width=300).encode(
        alt.X("size:Q", scale=alt.Scale(type="log", nice=False), title="labels"),
        alt.Color("school:N", scale=by_school(), title=None, legend=alt.Legend(symbolOpacity=1)),
    )
    line = base.mark_line(point=True).encode(alt.Y("accuracy:Q", scale=alt.Scale(zero=False)))
    band = base.mark_area(opacity=0.15).encode(alt.Y("accuracy_low:Q", title="accuracy"), alt.Y2("accuracy_high:Q"))
    return (band + line).facet(alt.Column("twins:N", title=None))
