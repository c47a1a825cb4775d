"""The example of a classifier of one's own in docs does what is said there, as it stands."""

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, Command, git, said, set_param

from pipeline.contracts import read_yaml


@pytest.fixture(scope="module")
def example() -> dict[str, str]:
    """The code blocks of the page by their language: a module, params, and commands."""
    page = (ROOT / "docs/add-a-classifier.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert [language for language, _ in blocks] == ["python", "yaml", "sh"]
    return dict(blocks)


@pytest.fixture
def with_example(project: Path, example: dict[str, str]) -> Path:
    """The project's copy with the example put in: a new file, and text at the end of another."""
    (project / "pipeline/counts/linear_svm.py").write_text(example["python"])
    with (project / "params.yaml").open("a", encoding="utf-8") as file:
        file.write(f"\n{example['yaml']}")
    set_param(project, "evaluate.draws", 200)
    git(project, "init", "-q")
    return project


def test_it_needs_no_entry_in_dvc_yaml(with_example: Path, command: Command) -> None:
    """What it imports is what all families on counts do; the stage errors, which may train any of them, depends on it."""
    before = read_yaml(with_example / "dvc.yaml")["stages"]
    set_param(with_example, "classifiers.counts", ["naive_bayes", "logistic", "linear_svm"])
    said(command("tools.deps"))
    after = read_yaml(with_example / "dvc.yaml")["stages"]
    assert {name for name in after if after[name] != before[name]} == {"errors"}
    new = {*after["errors"]["deps"]} - {*before["errors"]["deps"]}
    assert new == {"pipeline/counts/linear_svm.py"}
    listed = command("dvc", "stage", "list", "--name-only").stdout.splitlines()
    assert "counts@linear_svm" in listed


@pytest.mark.slow
def test_it_is_in_the_comparison(with_example: Path, command: Command, example: dict[str, str]) -> None:
    for line in example["sh"].splitlines():
        words = shlex.split(line, comments=True)
        said(command(*{"python": words[2:], "make": ["tools.deps"]}.get(words[0], words)))
    table = (with_example / "evaluate/table.md").read_text(encoding="utf-8")
    assert re.search(r"^\| +1 \| linear_svm +\| discriminative \| +90 \|", table, re.MULTILINE), table
    metrics = pd.read_csv(with_example / "evaluate/scores.csv").set_index("classifier").loc["linear_svm"]
    train = pd.read_parquet(with_example / "data/prepared/train.parquet")
    assert metrics["accuracy"] > max(train["target"].mean(), 1 - train["target"].mean())
    assert metrics["log_loss"] < 0.693, "better than one half for every tweet: margins have become probabilities"
    words = pd.read_csv(with_example / "models/linear_svm/words.csv")
    assert words["weight"].is_monotonic_decreasing
    assert "up to date" in command("dvc", "status", "counts@linear_svm").stdout, "a second run would do nothing"
