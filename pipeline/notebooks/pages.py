"""The notebooks as pages that can be read offline: run on the last results, formulas as MathML, charts as SVG.

in:  notebooks/*.ipynb, and what a run has left
out: notebooks/html/*.html
run: make notebooks   (or python -m pipeline.notebooks.pages)
"""

from pathlib import Path
from typing import Any

from jinja2 import DictLoader, pass_context
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from tqdm import tqdm

from pipeline.contracts import write_text
from pipeline.notebooks.executed import execute, notebooks
from pipeline.process import run

FOLDER = Path("notebooks")
OUT = FOLDER / "html"

# nbconvert's page for Jupyter Lab without what it would fetch: require.js, MathJax, Mermaid.
OFFLINE = """
{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block html_head_css -%}
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<style>
main { max-width: 62rem; margin: 0 auto; }
.jp-InputPrompt, .jp-OutputPrompt { display: none; }
.jp-OutputArea-output { overflow-x: auto; }
.jp-RenderedSVG svg { max-width: 100%; height: auto; overflow: visible; }
.jp-RenderedHTMLCommon td, .jp-RenderedHTMLCommon th { text-align: left !important; }
math[display=block] { margin: 0.8em 0; }
</style>
{%- endblock -%}
"""


class WithMathML(IPythonRenderer):
    """Formulas as MathML, which browsers draw by themselves."""

    def inline_math(self, body: str) -> str:
        return str(convert(body))

    def block_math(self, body: str) -> str:
        return str(convert(body, display="block"))


class OfflineExporter(HTMLExporter):
    @pass_context
    def markdown2html(self, context: Any, source: str) -> str:  # noqa: ARG002 - nbconvert passes it
        return str(MarkdownWithMath(renderer=WithMathML(escape=False)).render(source))


def page(notebook: NotebookNode, title: str) -> str:
    """A notebook that has been run, as HTML that fetches nothing."""
    exporter = OfflineExporter(
        extra_loaders=[DictLoader({"offline.html.j2": OFFLINE})], template_file="offline.html.j2"
    )
    html, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": title}})
    return str(html)


def main() -> None:
    for path in tqdm(notebooks(FOLDER), desc="notebooks", unit="notebook"):
        write_text(OUT / f"{path.stem}.html", page(execute(path, FOLDER), path.stem))


if __name__ == "__main__":
    run(main)
