"""What is published is of one run of one commit, and the pages say what its results say."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, Command, one_line_error
from test_pipeline import git, set_param

from pipeline.contracts import read_json
from tools import docs


@pytest.fixture
def with_results(project: Path, command: Command) -> Path:
    """A project whose two cheapest classifiers were compared, all of it committed."""
    shutil.copytree(ROOT / "docs", project / "docs", ignore=shutil.ignore_patterns("results"))
    (project / "README.md").write_text(f"before\n{docs.BEGIN}\nold\n{docs.END}\nafter\n")
    lists = [f"classifiers.{name}=[]" for name in ("encoders", "vectors", "lora", "prompts")]
    assert command("pipeline.apply", *lists, "evaluate.draws=200").returncode == 0
    git(project, "init", "-q")
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "all")
    done = command("dvc", "repro", "evaluate")
    assert done.returncode == 0, done.stderr
    return project


@pytest.mark.slow
def test_only_what_this_commit_made_is_published(with_results: Path, command: Command) -> None:
    done = command("tools.docs")
    assert done.returncode == 0, done.stderr
    kept = with_results / "docs/results/seed-0"
    head = (with_results / ".git/refs/heads").rglob("*")
    commit = read_json(kept / "run.json")["commit"]
    assert [path.read_text()[: len(commit)] for path in head if path.is_file()] == [commit]
    for page in ("README.md", "docs/comparison.md", "docs/study.md"):
        text = (with_results / page).read_text(encoding="utf-8")
        assert commit in text
        assert "naive_bayes" in text
    assert (with_results / "README.md").read_text().startswith("before\n")
    assert (with_results / "README.md").read_text().endswith("after\n")

    # Other folds beside: the last seed is published, and the first one's accuracies stand in a column.
    shutil.copytree(kept, with_results / "docs/results/seed-7")
    scores = pd.read_csv(kept / "evaluate/scores.csv")
    scores.assign(accuracy=0.123).to_csv(kept / "evaluate/scores.csv", index=False)
    assert command("tools.docs", "pages").returncode == 0
    table = (with_results / "README.md").read_text()
    assert "by folds of seed 0" in table
    assert table.count("| 0.123 [") == len(scores)

    # What another code, or other params, would find anew is refused.
    set_param(with_results, "naive_bayes.alpha", [0.7])
    assert "not the results of this code and these params: " in one_line_error(command("tools.docs"))
    code = with_results / "pipeline/classifiers/naive_bayes.py"
    code.write_text(code.read_text() + "# changed\n")
    assert "naive_bayes.py is not as it was committed" in one_line_error(command("tools.docs"))


def test_without_results_there_is_one_line(project: Path, command: Command) -> None:
    assert "evaluate/table.md: no such file; run `make repro` first" in one_line_error(command("tools.docs"))
