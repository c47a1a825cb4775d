"""Two cold runs: what `benchmarks.cold_twice` says about two folders, and about the pipeline itself."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, clean_environment, python, repository

from benchmarks.cold_twice import scores_apart

SCORES = pd.DataFrame({"id": [1, 2, 3, 4], "split": "train", "score": [0.1, 0.49, 0.9, None]})


@pytest.mark.parametrize(
    ("changed", "largest", "flips"),
    [
        ({}, 0, 0),
        ({"score": [0.1, 0.51, 0.9, None]}, 0.02, 0.25),
        ({"score": [0.1, 0.49, 0.9 + 1e-9, None]}, 1e-9, 0),
        ({"score": [0.1, None, 0.9, 0.3]}, 1, 0.5),
        ({"id": [1, 2, 3, 5]}, np.nan, np.nan),
    ],
)
def test_what_differs_is_measured(tmp_path: Path, changed: dict[str, object], largest: float, flips: float) -> None:
    SCORES.to_parquet(tmp_path / "first")
    SCORES.assign(**changed).to_parquet(tmp_path / "second")
    assert scores_apart(tmp_path / "first", tmp_path / "second") == pytest.approx((largest, flips), nan_ok=True)


STAGES = """
stages:
  steady: { cmd: "cp given steady", deps: [given], outs: [steady] }
  other: { cmd: "pwd > other", deps: [steady], outs: [other] }
"""


@pytest.mark.slow
def test_two_runs_begin_with_nothing_and_are_compared(tmp_path: Path) -> None:
    """A small project, of which one stage writes where it runs."""
    files = {"dvc.yaml": STAGES, "params.yaml": "data: { source: given }", "given": "x", "other": "left"}
    project, runs = repository(tmp_path / "small", files), tmp_path / "runs"
    (project / ".gitignore").write_text("/other\n/steady\n")
    own = clean_environment(tmp_path / "store", HOME=str(tmp_path), PYTHONPATH=str(ROOT))
    done = python("-m", "benchmarks.cold_twice", "other", "--keep", str(runs), folder=project, inherited=own)
    assert done.returncode == 1, done.stderr
    rows = [[cell.strip() for cell in line.split("|")] for line in done.stdout.splitlines() if line.startswith("| ")]
    assert {row[1]: row[2] for row in rows[1:]} == {"other": "different", "steady": "same"}
    assert (runs / "second/other").read_text() == f"{runs / 'second'}\n"
