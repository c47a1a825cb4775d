"""Whatever is wrong with an input: one clear line that says where, exit status 1, and nothing half-written."""

import os
import re
from pathlib import Path

import pytest
from malformed import CASES, Case
from malformed.project import make, meet


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("malformed") / "whole"
    make(folder)
    return folder


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "_"))
def test_malformed(case: Case, template: Path, tmp_path: Path) -> None:
    if case.unless_root and os.geteuid() == 0:
        pytest.skip("root may do it")
    outcome = meet(case, template, tmp_path / "project")
    assert "Traceback" not in outcome.stderr, outcome.stderr
    assert outcome.status == 1, outcome
    assert len(outcome.lines) == 1, outcome.stderr
    assert re.fullmatch(case.message, outcome.lines[0]), outcome.lines[0]
    assert not outcome.changed
