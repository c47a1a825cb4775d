"""The page: one file with its style, its scripts and its data inside, that asks for nothing from elsewhere.

Tweets are strangers' text. The template escapes all that it is given, data for the charts cannot end the script element that
holds it, and the page's policy lets no script run but its own two, and nothing be loaded at all.
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import vl_convert
from altair import SCHEMA_VERSION
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipeline.report.charts import CONFIG
from pipeline.report.parts import Figure, Section
from pipeline.tables import Table

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Page:
    title: str
    sentences: list[str]
    ranking: Table
    figure: Figure
    twins: Table
    sections: list[Section]
    provenance: list[tuple[str, list[tuple[str, str]]]]
    missing: list[str]
    """Stages that did not run."""


@cache
def library() -> str:
    """Vega, Vega-Lite and Vega-Embed, of the versions that Altair's specs are for."""
    version = ".".join(SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    return inside_script(str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", version)))


def inside_script(code: str) -> str:
    """JavaScript that cannot end the element it stands in: there, `<\\/script` means the same in a string."""
    return code.replace("</script", r"<\/script").replace("<!--", r"<\!--")


def as_json(values: Any) -> str:
    """JSON to stand in a script element: no `<` is left that could end it; a number that is none becomes null."""

    def without_nan(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without_nan(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [without_nan(inner) for inner in value]
        if hasattr(value, "item"):  # numpy's
            value = value.item()
        return None if isinstance(value, float) and value != value else value  # noqa: PLR0124 - NaN alone differs from itself

    text = json.dumps(without_nan(values), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def allowed(script: str) -> str:
    """A script's source expression for the page's policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def render(page: Page) -> str:
    """The page as HTML."""
    figures = [page.figure, *(part for section in page.sections for part in section.parts if isinstance(part, Figure))]
    scripts = [library(), inside_script((HERE / "page.js").read_text(encoding="utf-8"))]
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.tests["figure"] = lambda part: isinstance(part, Figure)
    data = as_json({"config": CONFIG, "figures": {figure.name: figure.data() for figure in figures}})
    return environment.get_template("page.html").render(
        page=page,
        policy="default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"script-src {' '.join(map(allowed, scripts))}",
        # these four are the page's own, or made safe above
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),  # noqa: S704
        scripts=[Markup(script) for script in scripts],  # noqa: S704
        data=Markup(data),  # noqa: S704
    )
