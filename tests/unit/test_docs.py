"""The pages of what is published say what its results say."""

from pathlib import Path

import pytest
from conftest import ROOT, Command, one_line_error

from tools import docs


def test_the_pages_are_made_of_the_results_that_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """No number of README's comparison, of docs/comparison.md or docs/study.md is typed, or of another run."""
    monkeypatch.chdir(ROOT)
    for path, text in docs.pages().items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: `python -m tools.docs pages` writes it"


def test_without_results_there_is_one_line(project: Path, command: Command) -> None:
    assert "evaluate/table.md: no such file; run `make repro` first" in one_line_error(command("tools.docs"))
