"""dvc.yaml tells the truth: a stage that DVC does not rerun would not have changed."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from pipeline.contracts import read_yaml

PARAMS: dict[str, Any] = read_yaml(ROOT / "params.yaml")


def stages() -> dict[str, dict[str, Any]]:
    """The entries of dvc.yaml by name; `vectors` as one for each family, vectors@<family>."""
    entries = {name: entry.get("do", entry) for name, entry in read_yaml(ROOT / "dvc.yaml")["stages"].items()}
    text = json.dumps(entries.pop("vectors")).replace("${item.encoder}", "${item}")
    families = PARAMS["vectors"]["families"]
    return entries | {f"vectors@{one}": json.loads(text.replace("${item.family}", one)) for one in families}


STAGES = stages()

ON_COUNTS = ["prepare", "naive_bayes", "logistic", "ngram_lm"]
VERDICT = ["evaluate", "calibration", "blend", "cascade", "errors", "explanations", "submission", "report", "manifest"]
"""What needs neither torch nor openai."""


def module_of(name: str) -> Path:
    return ROOT / (re.search(r"-m (pipeline\S+)", STAGES[name]["cmd"])[1].replace(".", "/") + ".py")


CONTRACTS = ROOT / "pipeline/contracts/__init__.py"
"""The one package that is imported itself."""


def imported(path: Path) -> set[Path]:
    """The project's modules that a module imports, directly or not, and the module itself."""
    found, todo = {path}, [path]
    while todo:
        for node in ast.walk(ast.parse(todo.pop().read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert not node.level, f"{path}: relative import"
                names += [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
            for name in names:
                module = CONTRACTS if name == "pipeline.contracts" else ROOT / (name.replace(".", "/") + ".py")
                if name.startswith("pipeline.") and module.is_file() and module not in found:
                    found.add(module)
                    todo.append(module)
    return found


def loaded_by_name(name: str) -> set[Path]:
    """The modules that a stage loads without importing them: those of the families that its params name."""
    curves = [curve["family"] for curve in PARAMS["learning_curve"]["curves"].values()]
    named = dict.fromkeys(("learning_curve", "robustness", "nested", "errors"), curves)
    named |= {"generation": PARAMS["generation"]["families"], "explanations": ["verdict.attributions"]}
    families = {family.replace(".", "/") for family in named.get(name, [])}
    return set().union(*(imported(ROOT / "pipeline" / f"{one}.py") for one in families))


def sections_read(path: Path) -> set[str]:
    """The params sections that a stage's modules ask for; the part of an f-string that DVC fills in becomes ${item}."""
    found = set()
    for module in imported(path):
        found |= sections_read_in(module)
    return found


def sections_read_in(path: Path) -> set[str]:
    found = set()
    names = {}
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            names |= {target.id: node.value.value for target in node.targets if isinstance(target, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "read_params":
            section = node.args[0]
            if isinstance(section, ast.Constant):
                found.add(section.value)
            elif isinstance(section, ast.Name):
                found.add(names[section.id])
            elif isinstance(section, ast.JoinedStr):
                found.add(
                    "".join(part.value if isinstance(part, ast.Constant) else "${item}" for part in section.values)
                )
    return found


@pytest.mark.parametrize("name", STAGES)
def test_every_imported_module_is_a_dependency(name: str) -> None:
    deps = [ROOT / dep for dep in STAGES[name]["deps"] if not dep.startswith("$")]
    modules = imported(module_of(name)) | loaded_by_name(name)
    missing = [path for path in modules if not any(path == dep or dep in path.parents for dep in deps)]
    assert not missing


@pytest.mark.parametrize("name", STAGES)
def test_no_dependency_is_idle(name: str) -> None:
    """A module that a stage does not import would make it run for nothing."""
    modules = imported(module_of(name)) | loaded_by_name(name)
    if name.startswith("vectors@"):  # the families share one list
        modules = set().union(*(imported(module_of(other)) for other in STAGES if other.startswith("vectors@")))
    for dep in (ROOT / dep for dep in STAGES[name]["deps"] if dep.startswith("pipeline/")):
        assert dep in modules or any(dep in module.parents for module in modules), dep


@pytest.mark.parametrize("name", STAGES)
def test_every_section_read_is_declared_and_no_other(name: str) -> None:
    if name == "manifest":  # it shows the whole file
        assert STAGES[name]["params"] == [{"params.yaml": None}]
        return
    read, declared = sections_read(module_of(name)), set(STAGES[name]["params"])
    if others := loaded_by_name(name):
        read = {section.split(".")[0] for section in read.union(*map(sections_read_in, others))}
    assert read == declared


@pytest.mark.parametrize("name", STAGES)
def test_one_name_four_times(name: str) -> None:
    group, _, family = name.partition("@")
    assert module_of(name).stem == (family or group)
    assert (family in PARAMS[group]) if family else (group in PARAMS)
    outputs = [
        out if isinstance(out, str) else next(iter(out))
        for kind in ("outs", "metrics")
        for out in STAGES[name].get(kind, [])
    ]
    folder = {"prepare": "prepared", "prompt_curve": "learning_curve"}.get(name, family or group)
    assert any(folder in out for out in outputs)


def test_packages_hold_nothing_but_a_docstring() -> None:
    """They are imported by every stage and are nobody's dependency; but for the contracts, which are every stage's.

    The package that holds all says how errors are shown, which no output depends on.
    """
    for path in {*(ROOT / "pipeline").rglob("__init__.py")} - {CONTRACTS, ROOT / "pipeline/__init__.py"}:
        assert [type(node) for node in ast.parse(path.read_text()).body] == [ast.Expr], path


def test_lists_name_what_is_there() -> None:
    for section in ("lora", "class_lm"):
        assert set(PARAMS[section]["presets"]) <= set(PARAMS[section]) - {"presets", "launch"}
    for prompt in PARAMS["prompt"]["prompts"]:
        assert (ROOT / "prompts" / f"{prompt}.yaml").is_file()
    assert set(PARAMS["prompt"]["submit"]) <= set(PARAMS["prompt"]["prompts"])


@pytest.mark.parametrize("name", [*ON_COUNTS, *VERDICT])
def test_the_small_install_is_enough(name: str) -> None:
    """No import of torch, transformers, peft or openai on the way to a first comparison."""
    for path in imported(module_of(name)):
        text = path.read_text()
        assert not re.search(r"^\s*(?:import|from) (?:torch|transformers|peft|openai|xllamacpp)", text, re.MULTILINE), (
            path
        )
