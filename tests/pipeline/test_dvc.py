"""dvc.yaml tells the truth: a stage that DVC does not rerun would not have changed."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from pipeline.contracts import read_yaml
from tools.deps import Stage, families_of, files, imported, path_of, stages

PARAMS: dict[str, Any] = read_yaml(ROOT / "params.yaml")
STUDY: dict[str, Any] = read_yaml(ROOT / "study/params.yaml")
STAGES = {f"{folder}{stage.name}": stage for folder in ("", "study/") for stage in stages(folder)}

CONTRACTS = ROOT / "pipeline/contracts/__init__.py"
"""The one package that is imported itself."""
LIGHT = ["prepare", "counts", "evaluate", "blend", "submission", "calibration", "errors", "explanations", "report"]
"""What needs neither torch nor openai."""


def modules_of(stage: Stage) -> list[Path]:
    return [path_of(one) for one in (families_of(stage.module) if "$" in stage.module else [stage.module])]


def test_code_and_params_are_written_as_they_are_imported_and_read() -> None:
    for path, text in files():
        assert path.read_text() == text, f"{path}: run `make deps`"


def test_the_main_job_is_read_in_a_minute() -> None:
    assert len((ROOT / "dvc.yaml").read_text().splitlines()) <= 300


@pytest.mark.parametrize("name", STAGES)
def test_one_name_four_times(name: str) -> None:
    """Stage, module, section of params and output; a group is called as its modules' folder or its presets' section."""
    stage = STAGES[name]
    entry = read_yaml(ROOT / stage.folder / "dvc.yaml")["stages"][stage.name]
    body = entry.get("do", entry)
    if "$" not in stage.module:
        assert stage.module.split(".")[-1] == stage.name
    assert stage.name in PARAMS or stage.name in STUDY or stage.name in PARAMS["classifiers"]
    outputs = [
        out if isinstance(out, str) else next(iter(out)) for kind in ("outs", "metrics") for out in body.get(kind, [])
    ]
    folder = {"prepare": "prepared", "prompt_curve": "learning_curve", "counts": "${item}", "vectors": "${item.family}"}
    assert any(folder.get(stage.name, stage.name) in out for out in outputs)
    assert all(out.startswith(stage.folder) for out in outputs)


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_starts_by_the_launcher_and_has_a_main(name: str) -> None:
    for path in modules_of(STAGES[name]):
        tree = ast.parse(path.read_text())
        assert any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body), path
        assert '"__main__"' not in path.read_text(), f"{path} starts by itself"


def test_who_reads_predictions_depends_on_the_lists() -> None:
    for stage in STAGES.values():
        if any(path.name == "taking_part.py" for path in imported(modules_of(stage))):
            assert "classifiers" in stage.declared, stage.name


def test_packages_hold_nothing_but_a_docstring() -> None:
    """They are imported by every stage and are nobody's dependency; but for the contracts, which are every stage's."""
    for path in {*(ROOT / "pipeline").rglob("__init__.py")} - {CONTRACTS}:
        assert [type(node) for node in ast.parse(path.read_text()).body] == [ast.Expr], path


def test_lists_name_what_is_there() -> None:
    for params in (PARAMS, STUDY):
        lists = params["classifiers"]
        assert {*lists["lora"]} <= {*PARAMS["lora"]} - {"launch"}
        assert {*lists["encoders"]} <= {*PARAMS["embed"]}
        assert {*lists.get("class_lm", [])} <= {*STUDY["class_lm"]}
        assert all((ROOT / "prompts" / f"{prompt}.yaml").is_file() for prompt in lists["prompts"])
    assert {*PARAMS["prompt"]["submit"]} <= {*PARAMS["classifiers"]["prompts"]}
    assert not {*PARAMS["classifiers"]["vectors"]} & {*STUDY["classifiers"]["vectors"]}, "each runs once"


@pytest.mark.parametrize("name", LIGHT)
def test_the_small_install_is_enough(name: str) -> None:
    """No import of torch, transformers, peft or openai on the way to a first comparison."""
    for path in imported(modules_of(STAGES[name])):
        text = path.read_text()
        assert not re.search(r"^\s*(?:import|from) (?:torch|transformers|peft|openai|xllamacpp)", text, re.MULTILINE), (
            path
        )
