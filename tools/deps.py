"""Write into dvc.yaml and study/dvc.yaml what each stage's code says: the modules that it imports, and the params that it reads.

What a person types of a stage is its command, the data it depends on, and its outputs; `deps` and `params` stand in brackets.

run: python -m tools.deps   (or make deps; a commit hook runs it too)
"""

import ast
import re
import textwrap
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from pipeline import code
from pipeline.code import ROOT

STUDY = "study"
SHARED = "pipeline/contracts"
"""A dependency as a folder."""
IGNORED = {ROOT / "pipeline" / name for name in ("process.py", "stage.py", "waiting.py")}
"""How a process lives among others decides about no result."""
BESIDE = (".css", ".html", ".j2", ".js")
WIDTH = 116


class Stage(NamedTuple):
    """An entry of a dvc.yaml: `module` may hold `${item}` or `${item.family}`."""

    folder: str
    """That of the dvc.yaml: empty, or study/."""
    name: str
    module: str
    declared: list[Any]
    """Its params."""


def read(path: str) -> Any:
    return YAML(typ="safe").load(ROOT / path)


PARAMS: dict[str, Any] = {folder: read(f"{folder}params.yaml") for folder in ("", f"{STUDY}/")}


def stages(folder: str) -> list[Stage]:
    """Of the dvc.yaml in a folder."""
    found = []
    for name, entry in read(f"{folder}dvc.yaml")["stages"].items():
        body = entry.get("do", entry)
        called = re.search(r"(?:\$\{stage\}|pipeline\.stage(?: --study)?) (\S+)", body["cmd"])
        found.append(Stage(folder, name, str(called and called[1]), body["params"]))
    return found


# --- modules ----------------------------------------------------------------------------------------------------------


def path_of(module: str) -> Path:
    return ROOT / "pipeline" / (module.replace(".", "/") + ".py")


def families_of(module: str) -> list[str]:
    """The modules that a templated name stands for: all that the lists of either params file name."""
    room = module.split(".", maxsplit=1)[0]
    return [f"{room}.{family}" for params in PARAMS.values() for family in params["classifiers"].get(room, [])]


def named_by_params(stage: str) -> list[str]:
    """The families that a stage loads by the names in its params."""
    study = PARAMS[f"{STUDY}/"]
    curves = {name: curve["family"] for name, curve in study["learning_curve"]["curves"].items()}
    taking_part = [*families_of("counts"), *families_of("vectors"), "finetune.lora"]  # any of them may be named
    named = {
        "distil": taking_part,
        "errors": taking_part,
        "explanations": ["counts.naive_bayes", "counts.logistic", "finetune.lora", "errors.integrated_gradients"],
        "learning_curve": list(curves.values()),
        "robustness": [curves[name] for name in study["robustness"]["classifiers"]],
        "generation": list(study["generation"]["families"]),
    }
    return named.get(stage, [])


@lru_cache
def imports_of(path: Path) -> frozenset[Path]:
    """The project's modules that a module itself imports; the contracts, which are a package that is imported itself, too."""
    names = {name.replace(".", "/") for name in code.read(path)[1] if name.startswith("pipeline.")}
    paths = {ROOT / f"{name}.py" for name in names} | {
        ROOT / SHARED / "__init__.py" for name in names if name == SHARED
    }
    return frozenset(path for path in paths if path.is_file())


def imported(paths: Iterable[Path]) -> set[Path]:
    """These modules, and all of the project's that they import, directly or not."""
    found = set(paths)
    todo = list(found)
    while todo:
        new = imports_of(todo.pop()) - found
        found |= new
        todo += new
    return found


def modules_of(stage: Stage) -> list[str]:
    """The modules that a stage may start: a templated one's, of all families."""
    return families_of(stage.module) if "$" in stage.module else [stage.module]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def code_of(stage: Stage) -> list[str]:
    """The dependencies in code, sorted: files, and the contracts as a folder; a templated module by its template.

    What lies beside a module and is no module (a page's template, its style) is code, too.
    """
    started = modules_of(stage)
    modules = imported(map(path_of, [*started, *named_by_params(stage.name)])) - IGNORED
    beside = {path for module in modules for path in module.parent.glob("*.*") if path.suffix in BESIDE}
    files = set(map(name_of, modules | beside))
    if "$" in stage.module:
        files -= {name_of(path_of(family)) for family in started}
        files.add(name_of(path_of(stage.module)).replace("${item/family}", "${item.family}"))
    return sorted({file for file in files if not file.startswith(f"{SHARED}/")} | {SHARED})


# --- params -----------------------------------------------------------------------------------------------------------


@lru_cache
def sections_in(path: Path) -> frozenset[str]:
    """The sections that a module asks `read_params` for; what an f-string fills in is `${item}`.

    A family on counts or vectors is read with the section of its own name, by what it inherits.
    """
    text = path.read_text(encoding="utf-8")
    tree, kind = ast.parse(text), path.parent.name
    constants: dict[str, str] = {}
    found: set[str] = set()
    if "\nFAMILY = " in text and kind in ("counts", "distil", "vectors"):
        found.add(f"{'vectors.' * (kind == 'vectors')}{path.stem}")
    if "\nFAMILY = " in text and kind == "finetune":
        found.add(f"{path.stem}.${{item}}")
    for node in ast.walk(tree):  # a module's constants come before what is inside of its functions
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(value))):
                constants[name] = value
            case ast.Call(func=ast.Name(id="read_params"), args=[ast.Constant(value=section), *_]):
                found.add(str(section))
            case ast.Call(func=ast.Name(id="read_params"), args=[ast.Name(id=name), *_]):
                found.add(constants[name])
            case ast.Call(func=ast.Name(id="read_params"), args=[ast.JoinedStr(values=parts) as section, *_]):
                if "cls.name()" not in ast.unparse(section):
                    found.add(
                        "".join(str(part.value) if isinstance(part, ast.Constant) else "${item}" for part in parts)
                    )
    return frozenset(found)


def params_of(stage: Stage) -> list[Any]:
    """The params that a stage reads, those of the study in a mapping of their own, as DVC wants it."""
    started = modules_of(stage)
    found = set().union(*map(sections_in, imported(map(path_of, started))))
    if "$" in stage.module:  # each reads its own section
        found = {section.removesuffix(".${item}") for section in found} if "${item}" in stage.module else found
        prefix = re.compile(r"^(counts|distil)\.")
        found = (found - {prefix.sub("", family) for family in started}) | {prefix.sub("", stage.module)}
    if stage.module.startswith("vectors."):
        found = {section.replace("embed.${item}", "embed.${item.encoder}") for section in found}
    others = imported(map(path_of, named_by_params(stage.name)))
    found |= {section.split(".")[0] for section in set().union(*map(sections_in, others))}
    study = {section for section in found if (top := section.split(".")[0]) not in PARAMS[""] and "$" not in top}
    study |= found & {"${item}"} if stage.module.startswith("distil.") else set()
    in_study = sorted(study | ({"classifiers"} if "classifiers" in found and stage.folder else set()))
    return [*sorted(found - study), *([{f"{STUDY}/params.yaml": in_study}] if in_study else [])]


# --- the file ---------------------------------------------------------------------------------------------------------


def quoted(value: Any) -> str:
    """A value as an item of a list in brackets."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: [{', '.join(map(quoted, values))}]" for key, values in value.items())
    return f'"{value}"' if re.search(r"[{}\[\],]", value) else value


def in_brackets(indent: str, key: str, items: list[Any]) -> str:
    """`key: [items]`, on as many lines as it takes."""
    text = ", ".join(map(quoted, items))
    one = f"{indent}{key}: [{text}]"
    if len(one) <= WIDTH:
        return one
    lines = textwrap.wrap(text, WIDTH - len(indent) - 2, break_long_words=False, break_on_hyphens=False)
    return "\n".join([f"{indent}{key}: [", *(f"{indent}  {line}" for line in lines), f"{indent}]"])


def written(text: str, folder: str) -> str:
    """The text of a dvc.yaml with the code and the params of each of its stages."""

    def rewritten(stage: Stage, block: str) -> str:
        deps, params = (re.search(rf"(?ms)^( *){key}: (\[[^\n]*\]|\[\n.*?^\1\])$", block) for key in ("deps", "params"))
        if not deps or not params:
            raise SystemExit(f"{folder}dvc.yaml: {stage.name}: deps and params must be lists in brackets")
        data = [dep for dep in YAML(typ="safe").load(deps[2]) if not dep.startswith("pipeline/")]
        declared = params_of(stage)
        block = block.replace(deps[0], in_brackets(deps[1], "deps", [*data, *code_of(stage)]))
        return block.replace(params[0], in_brackets(params[1], "params", declared))

    for stage in stages(folder):
        before, block, after = re.split(rf"(?ms)(^  {stage.name}:.*?(?=^  \w+:|\Z))", text)
        text = before + rewritten(stage, block) + after
    return text


def files() -> Iterator[tuple[Path, str]]:
    """Each dvc.yaml, and what it should hold."""
    for folder in PARAMS:
        path = ROOT / folder / "dvc.yaml"
        yield path, written(path.read_text(encoding="utf-8"), folder)


def main() -> None:
    for path, text in list(files()):
        if path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"written anew: {path.relative_to(ROOT).as_posix()}")


if __name__ == "__main__":
    main()
