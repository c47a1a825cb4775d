"""What DVC takes no notice of, and what it leaves where it is: tried in small repositories of its own."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from dvc.exceptions import ReproductionError
from dvc.repo import Repo
from ruamel.yaml import YAML

from pipeline.contracts import read_yaml


def repository(folder: Path, stage: dict[str, Any]) -> Repo:
    """With one stage, that has run."""
    repo = Repo.init(str(folder), no_scm=True)
    shutil.copy(ROOT / ".dvcignore", folder)
    YAML().dump({"stages": {"one": stage}}, folder / "dvc.yaml")
    repo.reproduce("one")
    return repo


@pytest.mark.parametrize(
    ("name", "read"),
    [
        (".DS_Store", False),
        ("._train.csv", False),
        ("Thumbs.db", False),
        ("desktop.ini", False),
        (".~lock.train.csv#", False),
        ("~$train.csv", False),
        ("train.csv~", False),
        ("sample_submission.csv", False),
        ("test.csv", True),
    ],
)
def test_what_no_stage_reads_in_a_source_makes_nothing_run_again(
    name: str, read: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "source").mkdir()
    (tmp_path / "source/train.csv").write_text("id,text,target\n")
    repo = repository(tmp_path, {"cmd": "echo made > out", "deps": ["source"], "outs": ["out"]})
    assert not repo.status()
    (tmp_path / "source" / name).write_text("x")
    repo = Repo(str(tmp_path))
    assert bool(repo.status()) is read


def tracked_metrics() -> list[tuple[str, dict[str, Any]]]:
    """Those that git holds, and how dvc.yaml has them."""
    entries = read_yaml(ROOT / "dvc.yaml")["stages"].values()
    listed = [each for entry in entries for each in entry.get("do", entry).get("metrics", [])]
    return [
        (path, how)
        for each in listed
        if isinstance(each, dict)
        for path, how in each.items()
        if not how.get("cache", True)
    ]


def test_some_metrics_are_git_s() -> None:
    assert {path for path, _ in tracked_metrics()} >= {
        f"{name}/metrics.json" for name in ("evaluate", "blend", "submission")
    }


@pytest.mark.parametrize(("path", "how"), tracked_metrics())
def test_a_stage_that_is_interrupted_leaves_the_metrics_that_git_holds(
    path: str, how: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVC takes a stage's other outputs away before it runs it, and so before Ctrl-C."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / path).parent.mkdir()
    (tmp_path / "works").write_text("true")
    command = f"$(cat works) && echo out > out && echo '{json.dumps({'accuracy': 1})}' > {path}"
    repo = repository(tmp_path, {"cmd": command, "deps": ["works"], "outs": ["out"], "metrics": [{path: how}]})
    (tmp_path / "works").write_text("false")
    with pytest.raises(ReproductionError):
        repo.reproduce("one")
    assert not (tmp_path / "out").exists()
    assert json.loads((tmp_path / path).read_text()) == {"accuracy": 1}
