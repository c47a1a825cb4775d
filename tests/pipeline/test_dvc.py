"""dvc.yaml tells the truth: a stage that DVC does not rerun would not have changed. And what DVC leaves where it is."""

import ast
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from dvc.exceptions import ReproductionError
from dvc.repo import Repo
from ruamel.yaml import YAML

from pipeline.apply import check_lists
from pipeline.contracts import read_yaml
from tools.deps import files, imported, modules_of, path_of, stages

PARAMS: dict[str, Any] = read_yaml(ROOT / "params.yaml")
STUDY: dict[str, Any] = read_yaml(ROOT / "study/params.yaml")
STAGES = {f"{folder}{stage.name}": stage for folder in ("", "study/") for stage in stages(folder)}

LIGHT = ["prepare", "counts", "evaluate", "blend", "submission", "calibration", "errors", "explanations", "report"]
"""What needs neither torch nor openai."""


def test_code_and_params_are_written_as_they_are_imported_and_read() -> None:
    for path, text in files():
        assert path.read_text() == text, f"{path}: run `make deps`"


@pytest.mark.parametrize("name", STAGES)
def test_one_name_four_times(name: str) -> None:
    """Stage, module, section of params and output; a group is called as its modules' folder or its presets' section."""
    stage = STAGES[name]
    entry = read_yaml(ROOT / stage.folder / "dvc.yaml")["stages"][stage.name]
    body = entry.get("do", entry)
    if "$" not in stage.module:
        assert stage.module.split(".")[-1] == stage.name
    assert any(stage.name in one for one in (PARAMS, STUDY, PARAMS["classifiers"], STUDY["classifiers"]))
    outputs = [
        out if isinstance(out, str) else next(iter(out)) for kind in ("outs", "metrics") for out in body.get(kind, [])
    ]
    folder = {"prepare": "prepared", "prompt_curve": "learning_curve", "vectors": "${item.family}"}
    folder |= dict.fromkeys(("counts", "distil"), "${item}")
    assert any(folder.get(stage.name, stage.name) in out for out in outputs)
    assert all(out.startswith(stage.folder) for out in outputs)


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_starts_by_the_launcher_and_has_a_main(name: str) -> None:
    for path in map(path_of, modules_of(STAGES[name])):
        assert re.search(r"^def main\(\)|^FAMILY = ", path.read_text(), re.MULTILINE), path
        assert '"__main__"' not in path.read_text(), f"{path} starts by itself"


def test_who_reads_predictions_depends_on_the_lists() -> None:
    for stage in STAGES.values():
        assert stage.declared, f"{stage.name}: no stage reads no params"
        if any(path.name == "taking_part.py" for path in imported(map(path_of, modules_of(stage)))):
            assert "classifiers" in stage.declared, stage.name


def test_packages_hold_nothing_but_a_docstring() -> None:
    """They are imported by every stage and are nobody's dependency; but for the contracts, which are every stage's."""
    for path in {*(ROOT / "pipeline").rglob("__init__.py")} - {ROOT / "pipeline/contracts/__init__.py"}:
        assert [type(node) for node in ast.parse(path.read_text()).body] == [ast.Expr], path


def test_lists_name_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    check_lists(PARAMS | {"study": STUDY})
    assert {*PARAMS["prompt"]["submit"]} <= {*PARAMS["classifiers"]["prompts"]}
    assert not {*PARAMS["classifiers"]["vectors"]} & {*STUDY["classifiers"]["vectors"]}, "each runs once"


@pytest.mark.parametrize("name", LIGHT)
def test_the_small_install_is_enough(name: str) -> None:
    """No import of torch, transformers, peft or openai on the way to a first comparison."""
    for path in imported(map(path_of, modules_of(STAGES[name]))):
        text = re.sub(r"if TYPE_CHECKING:\n(?: +.*\n)+", "", path.read_text())
        assert not re.search(r"^\s*(?:import|from) (?:torch|transformers|peft|openai|xllamacpp)", text, re.MULTILINE), (
            path
        )


# --- what DVC takes no notice of, and what it leaves, in small repositories ---------------------------------------------


def of_one(folder: Path, stage: dict[str, Any]) -> Repo:
    """With one stage, that has run."""
    repo = Repo.init(str(folder), no_scm=True)
    shutil.copy(ROOT / ".dvcignore", folder)
    YAML().dump({"stages": {"one": stage}}, folder / "dvc.yaml")
    repo.reproduce("one")
    return repo


IGNORED = [".DS_Store", "._train.csv", "Thumbs.db", "desktop.ini", ".~lock.train.csv#", "~$train.csv", "train.csv~"]


def test_what_no_stage_reads_in_a_source_makes_nothing_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "source").mkdir()
    (tmp_path / "source/train.csv").write_text("id,text,target\n")
    repo = of_one(tmp_path, {"cmd": "echo made > out", "deps": ["source"], "outs": ["out"]})
    assert not repo.status()
    for name in (*IGNORED, "sample_submission.csv"):
        (tmp_path / "source" / name).write_text("x")
    assert not Repo(str(tmp_path)).status()
    (tmp_path / "source/test.csv").write_text("x")
    assert Repo(str(tmp_path)).status()


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


@pytest.mark.parametrize(("path", "how"), tracked_metrics())
def test_a_stage_that_is_interrupted_leaves_the_metrics_that_git_holds(
    path: str, how: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVC takes a stage's other outputs away before it runs it, and so before Ctrl-C."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / path).parent.mkdir()
    (tmp_path / "works").write_text("true")
    command = f"$(cat works) && echo out > out && echo '{json.dumps({'accuracy': 1})}' > {path}"
    repo = of_one(tmp_path, {"cmd": command, "deps": ["works"], "outs": ["out"], "metrics": [{path: how}]})
    (tmp_path / "works").write_text("false")
    with pytest.raises(ReproductionError):
        repo.reproduce("one")
    assert not (tmp_path / "out").exists()
    assert json.loads((tmp_path / path).read_text()) == {"accuracy": 1}
