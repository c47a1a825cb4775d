"""The notebooks as pages that can be read offline: run on the last results, formulas as MathML, charts as SVG.

in:  notebooks/*.ipynb, and what a run has left
out: notebooks/html/*.html; with --executed notebooks/executed/*.ipynb, too, of the sample alone, whose tweets may be shown
run: make notebooks   (or python -m pipeline.notebooks.pages)
"""

import os
import sys
from pathlib import Path
from typing import Any

import nbformat
from jinja2 import FileSystemLoader, pass_context
from latex2mathml.converter import convert
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbconvert.preprocessors import TagRemovePreprocessor
from nbformat import NotebookNode
from tqdm import tqdm

from pipeline.contracts import PREPARED, InputError, read_json, write_text
from pipeline.data.csv_file import SAMPLE
from pipeline.process import run

FOLDER = Path("notebooks")
READ = "[1-9]*.ipynb"
"""Those that are read; another runs the pipeline."""
SECONDS = 300
"""That a cell may take, and the start."""
SETUP = "setup"
"""The tag of cells that the page leaves out: imports and the way to the project's folder."""


def execute(path: Path, folder: Path) -> NotebookNode:
    """The notebook with the outputs that its cells have when they are run, in order, in this folder."""
    notebook, where = nbformat.read(path, as_version=4), {"metadata": {"path": str(folder)}}
    try:
        more: dict[str, Any] = {"record_timing": False, "extra_arguments": ["--log-level=ERROR"]}
        NotebookClient(notebook, timeout=SECONDS, startup_timeout=SECONDS, resources=where, **more).execute()
    except CellExecutionError as error:
        raise InputError(f"{path}: {error.ename}: {error.evalue}") from error
    return notebook


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
    here = FileSystemLoader(Path(__file__).parent)
    exporter = OfflineExporter(extra_loaders=[here], template_file="page.html.j2")
    exporter.register_preprocessor(TagRemovePreprocessor(remove_cell_tags={SETUP}), enabled=True)
    html, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": title}})
    return str(html).replace('.ipynb">', '.html">')  # from one to the next


def main() -> None:
    executed = sys.argv[1:] == ["--executed"]
    if executed and os.path.normpath(read_json(PREPARED / "report.json")["source"]) != SAMPLE:
        raise InputError("--executed: these are not the sample's tweets, and may not be shown to all")
    for path in tqdm(sorted(FOLDER.glob(READ)), desc="notebooks", unit="notebook"):
        ran = execute(path, FOLDER)
        write_text(FOLDER / "html" / f"{path.stem}.html", page(ran, path.stem))
        if executed:
            write_text(FOLDER / "executed" / path.name, f"{nbformat.writes(ran)}\n")


if __name__ == "__main__":
    run(main)
