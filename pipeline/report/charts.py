"""The charts, as Vega-Lite specs that name their rows `rows`; colours are the page's own, so that they follow its theme.

Every spec is as wide as the page allows, and shows intervals where the rows have `low` and `high`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import altair as alt
import pandas as pd

from pipeline.report.parts import Records, Spec

SCHOOLS = ("generative", "discriminative", "prompted", "blend")
ROWS = alt.NamedData(name="rows")
STEP = 22
"""Height of a row of dots, in pixels."""
ENDS = {"low:Q,.1%": "from", "high:Q,.1%": "to"}
CONFIG: dict[str, Any] = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--muted)",
        "titleColor": "var(--muted)",
        "titleFontWeight": "normal",
        "titleFontSize": 12,
        "labelFontSize": 12,
        "gridColor": "var(--line)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
        "labelLimit": 190,
    },
    "axisY": {"titleAnchor": "end", "titleAngle": 0, "titleAlign": "left", "titleX": 0, "titleY": -8},
    "legend": {
        "orient": "top",
        "title": None,
        "labelColor": "var(--ink)",
        "labelFontSize": 12,
        "labelLimit": 240,
        "offset": 24,
        "symbolOpacity": 1,
        "symbolStrokeWidth": 0,
    },
    "text": {"color": "var(--ink)", "fontSize": 12},
    "rule": {"color": "var(--muted)"},
}


def coloured(column: str, names: Sequence[str], schools: Sequence[str], *, legend: bool = True) -> Any:
    """A colour for each of the names: that of its school."""
    scale = alt.Scale(domain=list(names), range=[f"var(--{school})" for school in schools])
    return alt.Color(f"{column}:N", scale=scale, legend=alt.Legend() if legend else None)


def shaped(column: str, names: Sequence[str]) -> Any:
    """A shape for each of the names, for those who don't tell the colours apart."""
    shapes = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-left", "triangle-right"]
    several = [shapes[i % len(shapes)] for i in range(len(names))]
    return alt.Shape(f"{column}:N", scale=alt.Scale(domain=list(names), range=several))


def shown_on_hover(columns: dict[str, str]) -> list[Any]:
    """Titles by column, with its type and format: `accuracy:Q,.3f`."""
    parts = [(column.partition(","), title) for column, title in columns.items()]
    return [alt.Tooltip(field, title=title, **({"format": form} if form else {})) for (field, _, form), title in parts]


def dots(base: Any, hover: dict[str, str], size: int, **mark: Any) -> Any:
    return base.mark_point(filled=True, size=size, opacity=1, **mark).encode(tooltip=shown_on_hover(hover))


def intervals(base: Any, **mark: Any) -> Any:
    """Upright, from `low` to `high`."""
    return base.mark_rule(strokeWidth=1.5, **mark).encode(y="low:Q", y2="high:Q")


def band_and_line(base: Any, low: Any, value: str, **mark: Any) -> list[Any]:
    """A band from `low`, whose axis is the chart's, to `high`, and a line in it."""
    return [
        base.mark_area(opacity=0.16, **mark).encode(y=low, y2="high:Q"),
        base.mark_line(strokeWidth=2, **mark).encode(y=value),
    ]


def finished(chart: Any, description: str, height: Any) -> Spec:
    spec: Spec = chart.properties(
        width="container", height=height, description=description, autosize={"type": "fit-x", "contains": "padding"}
    ).to_dict()
    spec.pop("config", None)  # the page has one for all
    spec.get("datasets", {}).pop("rows", None)
    return spec


def against_cost(title: str, schools: Sequence[str], description: str) -> Spec:
    """Accuracy with its interval by `cost` on a logarithmic scale, a dot for each `classifier`, some with a `label` `above`."""
    base = alt.Chart(ROWS).encode(x=alt.X("cost:Q", title=title, scale=alt.Scale(type="log"), axis=log_axis()))
    axis = alt.Axis(format=".0%", labelExpr="datum.value > 1 ? '' : datum.label")  # the room above is for names
    accuracy = alt.Y("accuracy:Q", title="Accuracy", scale=alt.Scale(zero=False, padding=16), axis=axis)
    hover = {"classifier:N": "classifier", "school:N": "school", "accuracy:Q,.1%": "accuracy"}
    hover |= ENDS | {"cost:Q,.3~g": title}
    by_school = base.encode(color=coloured("school", schools, schools))
    points = dots(by_school.encode(y=accuracy, shape=shaped("school", schools)), hover, 80)
    leaders = base.mark_rule(color="var(--line)").transform_filter("datum.label").encode(y="high:Q", y2="above:Q")
    names = by_school.mark_text(
        align={"expr": "datum.right ? 'right' : 'left'"}, dx={"expr": "datum.right ? 3 : -3"}, baseline="bottom"
    ).encode(y="above:Q", text="label:N")
    return finished(alt.layer(leaders, intervals(by_school, opacity=0.55), points, names), description, 340)


def log_axis() -> Any:
    return alt.Axis(format="~g", grid=False, tickCount=6, labelOverlap="greedy", labelSeparation=8)


class By(NamedTuple):
    """What a curve is drawn by."""

    column: str
    title: str
    log: bool = False
    form: str = ",~g"

    def axis(self) -> Any:
        scale = alt.Scale(type="log" if self.log else "linear")
        axis = log_axis() if self.log else alt.Axis(format=self.form, tickCount=5)
        return alt.X(f"{self.column}:Q", title=self.title, scale=scale, axis=axis)


def with_bands(
    x: By,
    y: str,
    domain: Sequence[float],
    names: Sequence[str],
    schools: Sequence[str],
    *,
    description: str,
    extra: Sequence[Any] = (),
) -> Spec:
    """`value` by `x` with its band, a line for each `series`; the axes of several charts alike, by their domain."""
    base = alt.Chart(ROWS).encode(x=x.axis(), color=coloured("series", names, schools))
    low = alt.Y("low:Q", scale=alt.Scale(domain=list(domain), nice=False, zero=False), title=y)
    hover = {"series:N": "classifier", f"{x.column}:Q,{x.form}": x.title}
    hover |= {"value:Q,.3f": y, "low:Q,.3f": "from", "high:Q,.3f": "to"}
    points = dots(base.encode(y="value:Q", shape=shaped("series", names)), hover, 48, clip=True)
    band, line = band_and_line(base, low, "value:Q", clip=True)
    return finished(alt.layer(*extra, band, line.encode(detail="series:N"), points), description, 260)


def crossing(at: float, low: float, high: float) -> list[Any]:
    """Where two curves cross, and the interval of that."""
    where = alt.Data(values=[{"at": at, "from": low, "to": high}])
    x = alt.Chart(where)
    return [
        x.mark_rect(opacity=0.09, color="var(--ink)").encode(x="from:Q", x2="to:Q"),
        x.mark_rule(strokeDash=[4, 4]).encode(x="at:Q"),
    ]


def records(frame: pd.DataFrame) -> Records:
    """The rows of a frame by column, for a chart."""
    return [{str(column): value for column, value in row.items()} for row in frame.to_dict("records")]


def in_points(frame: pd.DataFrame, *kept: str) -> Records:
    """Differences of shares, `value` from `low` to `high`, in percentage points."""
    ends = ["value", "low", "high"]
    return records(frame[[*kept]].join((100 * frame[ends]).round(2)))


def dots_with_intervals(y: str, title: str, order: Sequence[str], colour: Any, description: str) -> Spec:
    """Differences, `value` from `low` to `high`, a row for each `y` in this order; and a line at 0."""
    form = "+,.3~r"
    rows = alt.Y(f"{y}:N", sort=list(order), title=None, axis=alt.Axis(grid=True, ticks=False))
    base = alt.Chart(ROWS).encode(y=rows, color=colour)
    x = alt.X("value:Q", title=title, axis=alt.Axis(format=form, tickCount=8))
    hover = {f"{y}:N": y, f"value:Q,{form}": title, f"low:Q,{form}": "from", f"high:Q,{form}": "to"}
    nought = alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule().encode(x="zero:Q")
    whiskers = base.mark_rule(strokeWidth=1.5).encode(x="low:Q", x2="high:Q")
    return finished(alt.layer(nought, whiskers, dots(base.encode(x=x), hover, 70)), description, STEP * len(order))


def reliability(description: str) -> Spec:
    """`observed` by `predicted` share of target 1 with its interval; on the diagonal the two agree."""
    ends = alt.Data(values=[{"predicted": 0, "observed": 0}, {"predicted": 1, "observed": 1}])
    unit = alt.Scale(domain=[0, 1])
    x = alt.X("predicted:Q", title="Predicted", scale=unit, axis=alt.Axis(format=".0%", tickCount=5))
    y = alt.Y("observed:Q", title="Observed", scale=unit, axis=alt.Axis(format=".0%", tickCount=5))
    diagonal = alt.Chart(ends).mark_line(strokeDash=[4, 4], color="var(--muted)", strokeWidth=1).encode(x=x, y=y)
    base = alt.Chart(ROWS).encode(x=x, color=coloured("school", SCHOOLS, SCHOOLS, legend=False))
    hover = {"predicted:Q,.1%": "predicted", "observed:Q,.1%": "observed"} | ENDS | {"rows:Q,~g": "texts"}
    seen = base.encode(y=y)
    line = seen.mark_line(strokeWidth=1.5)
    return finished(alt.layer(diagonal, intervals(base), line, dots(seen, hover, 50)), description, 240)


def confusion(names: Sequence[str], description: str) -> Spec:
    """`rows` and their `share` of those that are so, by what they `actual`ly are and what was `predicted`."""
    said = alt.Axis(orient="top", labelAngle=0, ticks=False, domain=False, grid=False, labelFontSize=13)
    is_so = alt.Axis(ticks=False, domain=False, grid=False, labelFontSize=13, titleAngle=0, titleX=0, titleY=-8)
    base = alt.Chart(ROWS).encode(
        x=alt.X("predicted:N", sort=list(names), title="Said", axis=said),
        y=alt.Y("actual:N", sort=list(names), title="Is", axis=is_so),
    )
    hover = {"actual:N": "is", "predicted:N": "said", "rows:Q,~g": "texts", "share:Q,.1%": "of these"}
    cells = base.mark_rect(stroke="var(--paper)", strokeWidth=3, color="var(--accent)", cornerRadius=4).encode(
        opacity=alt.Opacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0.06, 0.5]), legend=None),
        tooltip=shown_on_hover(hover),
    )
    shares = base.mark_text(fontSize=20, fontWeight=600, dy=-8).encode(text=alt.Text("share:Q", format=".1%"))
    counts = base.mark_text(dy=14, color="var(--muted)").encode(text=alt.Text("rows:Q", format=","))
    return finished(alt.layer(cells, shares, counts), description, 220)


def cascade(description: str) -> Spec:
    """`accuracy` with its band by the `share` passed on."""
    base = alt.Chart(ROWS).encode(x=By("share", "Share of texts passed on", form=".0%").axis())
    hover = {"share:Q,.0%": "passed on", "accuracy:Q,.1%": "accuracy"} | ENDS | {"ms_per_text:Q,.3~g": "ms a text"}
    low = alt.Y("low:Q", title="Accuracy", scale=alt.Scale(zero=False), axis=alt.Axis(format=".1%"))
    colour = "var(--accent)"
    points = dots(base.encode(y="accuracy:Q"), hover, 40, color=colour)
    return finished(alt.layer(*band_and_line(base, low, "accuracy:Q", color=colour), points), description, 260)
