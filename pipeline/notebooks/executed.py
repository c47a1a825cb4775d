"""Run a notebook from top to bottom, as the test and the pages do."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from pipeline.contracts import InputError

SECONDS = 300
"""That a cell may take, and the start."""


def notebooks(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.ipynb"))


def execute(path: Path, folder: Path) -> NotebookNode:
    """The notebook with the outputs that its cells have when they are run, in order, in this folder."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=SECONDS, startup_timeout=SECONDS, resources={"metadata": {"path": str(folder)}}
    )
    try:
        client.execute()
    except CellExecutionError as error:
        raise InputError(f"{path}: {error.ename}: {error.evalue}") from error
    return notebook
