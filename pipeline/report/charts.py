"""The charts, as Vega-Lite specs that name their rows `rows`; colours are the page's own, so that they follow its theme.

Every spec is as wide as the page allows. Rows have a `value`, and its 95 % interval from `low` to `high`.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import altair as alt
import pandas as pd

from pipeline.report.parts import Records, Spec

SCHOOLS = ("generative", "discriminative", "prompted", "blend")
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-left", "triangle-right")
ROWS = alt.NamedData(name="rows")
RELIABILITY = ["predicted", "value", "low", "high", "rows", "school"]
STEP = 22
"""Height of a row of dots, in pixels."""


def records(frame: pd.DataFrame) -> Records:
    """The rows of a frame by column, for a chart: JSON's own types, null where a number is none."""
    return list(json.loads(frame.to_json(orient="records")))


def in_points(frame: pd.DataFrame, *kept: str) -> Records:
    """Differences of shares, `value` from `low` to `high`, in percentage points."""
    return records(frame[[*kept]].join((100 * frame[["value", "low", "high"]]).round(2)))


class Field(NamedTuple):
    """A column of the rows, as an axis and on hovering."""

    column: str
    title: str
    form: str = ""
    """Of a number; none for a name."""
    log: bool = False
    domain: Sequence[float] | None = None
    """Of an axis that several charts share; else what the rows span, and so many pixels more."""
    padding: int = 0
    told: str = ""
    """The column on hovering, if it is another."""

    def on(self, channel: Any) -> Any:
        """The channel, `alt.X` or `alt.Y`, of these numbers."""
        quiet: dict[str, Any] = {"grid": False, "labelOverlap": "greedy", "labelSeparation": 8} if self.log else {}
        scale: dict[str, Any] = {"type": "log"} if self.log else {"zero": False, "padding": self.padding}
        scale |= {"domain": [*self.domain], "nice": False} if self.domain else {}
        if self.form.endswith("%"):
            quiet["labelExpr"] = "datum.value > 1 ? '' : replace(datum.label, '%', ' %')"
        axis = alt.Axis(format=self.form.replace("+", "").replace("1%", "1~%"), tickCount=6, **quiet)
        return channel(f"{self.column}:Q", title=self.title, scale=alt.Scale(**scale), axis=axis)

    def hover(self) -> Any:
        name = f"{self.told or self.column}:{'Q' if self.form else 'N'}"
        return alt.Tooltip(name, title=self.title, format=self.form or alt.Undefined)


def with_ends(value: Field) -> list[Any]:
    """What is shown of a value on hovering: itself, and its interval."""
    ends = [Field("low", "from", value.form), Field("high", "to", value.form)]
    return [one.hover() for one in (value, *ends)]


def coloured(column: str, names: Sequence[str], schools: Sequence[str], *, legend: bool = True) -> Any:
    """A colour for each of the names: that of its school."""
    scale = alt.Scale(domain=list(names), range=[f"var(--{school})" for school in schools])
    return alt.Color(f"{column}:N", scale=scale, legend=alt.Legend() if legend else None)


def shaped(column: str, names: Sequence[str]) -> Any:
    """A shape for each of the names, for those who don't tell the colours apart."""
    several = [SHAPES[i % len(SHAPES)] for i in range(len(names))]
    return alt.Shape(f"{column}:N", scale=alt.Scale(domain=list(names), range=several))


def finished(layers: Sequence[Any], description: str, height: Any) -> Spec:
    """The layers as one spec, as wide as the page allows."""
    fit = {"width": "container", "autosize": {"type": "fit-x", "contains": "padding"}}
    spec: Spec = alt.layer(*layers).properties(height=height, description=description, **fit).to_dict()
    spec.pop("config", None)  # the page has one for all
    return spec


def by_number(
    x: Field, y: Field, colour: Any, description: str, *, height: int = 260, band: bool = False, line: bool = False,
    hover: Sequence[Field] = (), shape: Any = alt.Undefined, below: Sequence[Any] = (),
) -> Spec:  # fmt: skip
    """Dots of `y` by `x`, their intervals as bars or one band, and a line through them if wanted; layers `below`."""
    base = alt.Chart(ROWS).encode(x=x.on(alt.X), color=colour)
    spread = base.mark_area(opacity=0.16, clip=True) if band else base.mark_rule(strokeWidth=1.5, opacity=0.6)
    seen = base.encode(y=y.on(alt.Y))
    told = [*(one.hover() for one in (*hover, x)), *with_ends(y)]
    dots = seen.mark_point(filled=True, size=50, opacity=1, clip=band).encode(tooltip=told, shape=shape)
    lines = [seen.mark_line(strokeWidth=2, clip=True)] if line else []
    return finished([*below, spread.encode(y="low:Q", y2="high:Q"), *lines, dots], description, height)


def against_cost(title: str, schools: Sequence[str], description: str) -> Spec:
    """Accuracy by `cost` on a logarithmic scale, a dot for each `classifier`, some with a `label` `above`."""
    cost, colour = Field("at", title, ",.3~r", log=True, told="cost"), coloured("school", schools, schools)
    base = alt.Chart(ROWS).encode(x=cost.on(alt.X))
    leaders = base.mark_rule(color="var(--line)").transform_filter("datum.label").encode(y="high:Q", y2="above:Q")
    side = {"align": {"expr": "datum.right ? 'right' : 'left'"}, "dx": {"expr": "datum.right ? 3 : -3"}}
    names = base.mark_text(baseline="bottom", **side).encode(y="above:Q", text="label:N", color=colour)
    hover = [Field("classifier", "classifier"), Field("school", "school")]
    accuracy, shape = Field("value", "Accuracy", ".1%", padding=16), shaped("school", schools)
    return by_number(cost, accuracy, colour, description, height=340, hover=hover, shape=shape, below=[leaders, names])


def curves(
    x: Field, y: Field, names: Sequence[str], schools: Sequence[str], description: str, below: Sequence[Any] = ()
) -> Spec:
    """A line with its band for each `series`."""
    colour, shape = coloured("series", names, schools), shaped("series", names)
    hover = [Field("series", "classifier")]
    return by_number(x, y, colour, description, band=True, line=True, hover=hover, shape=shape, below=below)


def crossing(at: float, low: float, high: float) -> list[Any]:
    """Where two curves cross, and the interval of that."""
    x = alt.Chart(alt.Data(values=[{"at": at, "from": low, "to": high}]))
    return [
        x.mark_rect(opacity=0.09, color="var(--ink)").encode(x="from:Q", x2="to:Q"),
        x.mark_rule(strokeDash=[4, 4]).encode(x="at:Q"),
    ]


def reliability(description: str) -> Spec:
    """The observed share of target 1 by the `predicted` one; on the diagonal the two agree."""
    x, y = (Field(column, column.title(), ".0%", domain=(0, 1)) for column in ("predicted", "observed"))
    y = y._replace(column="value")
    ends = alt.Chart(alt.Data(values=[{"predicted": end, "value": end} for end in (0, 1)]))
    diagonal = ends.mark_line(strokeDash=[4, 4], color="var(--muted)", strokeWidth=1)
    colour = coloured("school", SCHOOLS, SCHOOLS, legend=False)
    below, hover = [diagonal.encode(x=x.on(alt.X), y=y.on(alt.Y))], [Field("rows", "texts", "~g")]
    return by_number(x, y, colour, description, height=240, line=True, hover=hover, below=below)


def differences(column: str, title: str, colour: Any, description: str, *, rows: int) -> Spec:
    """A row for each of so many names in a column, in their order, with a dot and its interval; and a line at 0."""
    value = Field("value", title, "+,.3~r")
    names = alt.Y(f"{column}:N", sort=None, title=None, axis=alt.Axis(grid=True, ticks=False))
    base = alt.Chart(ROWS).encode(y=names, color=colour)
    told = [Field(column, column).hover(), *with_ends(value)]
    layers = [
        alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule().encode(x="zero:Q"),
        base.mark_rule(strokeWidth=1.5).encode(x="low:Q", x2="high:Q"),
        base.mark_point(filled=True, size=70, opacity=1).encode(x=value.on(alt.X), tooltip=told),
    ]
    return finished(layers, description, STEP * rows)


def confusion(names: Sequence[str], description: str) -> Spec:
    """`rows` and their `share` of those that are so, by what they `actual`ly are and what was `predicted`."""
    bare = {"ticks": False, "domain": False, "grid": False, "labelFontSize": 13}
    base = alt.Chart(ROWS).encode(
        x=alt.X("predicted:N", sort=list(names), title="Said", axis=alt.Axis(orient="top", labelAngle=0, **bare)),
        y=alt.Y("actual:N", sort=list(names), title="Is", axis=alt.Axis(**bare)),
    )
    told = [
        Field("actual", "is").hover(),
        Field("predicted", "said").hover(),
        Field("rows", "texts", ",~g").hover(),
        Field("share", "of these", ".1%").hover(),
    ]
    shade = alt.Opacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0.06, 0.5]), legend=None)
    cells = base.mark_rect(stroke="var(--paper)", strokeWidth=3, color="var(--accent)", cornerRadius=4)
    shares = base.mark_text(fontSize=20, fontWeight=600, dy=-8).encode(text=alt.Text("share:Q", format=".1%"))
    counts = base.mark_text(dy=14, color="var(--muted)").encode(text=alt.Text("rows:Q", format=","))
    return finished([cells.encode(opacity=shade, tooltip=told), shares, counts], description, 220)
