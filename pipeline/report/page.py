"""The page: one file with its style, its scripts and its data inside, that asks for nothing from elsewhere.

Tweets are strangers' text. The template escapes all that it is given, data for the charts cannot end the script element that
holds it, and the page's policy lets no script run but its own two, and nothing be loaded at all.
"""

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import vl_convert
from altair import SCHEMA_VERSION
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

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


def unbroken(text: str) -> str:
    """Text whose numbers keep their signs, intervals and per cent on one line."""
    return re.sub(r" (?=%)|(?<=\d %) (?=\[)|(?<=,) (?=[\d.+−]+\])", "\N{NO-BREAK SPACE}", text)


def allowed(script: str) -> str:
    """A script's source expression for the page's policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def render(page: Page) -> str:
    figures = [page.figure, *(part for section in page.sections for part in section.parts if isinstance(part, Figure))]
    scripts = [library(), inside_script((HERE / "page.js").read_text(encoding="utf-8"))]
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["unbroken"] = unbroken
    drawn = {figure.name: [{"specs": panel.specs, "rows": panel.rows} for panel in figure.panels] for figure in figures}
    return environment.get_template("page.html").render(
        page=page,
        policy="default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"script-src {' '.join(map(allowed, scripts))}",
        # the style and the scripts are the page's own
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),  # noqa: S704
        scripts=[Markup(script) for script in scripts],  # noqa: S704
        data=drawn,
    )
