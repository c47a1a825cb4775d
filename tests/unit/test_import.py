"""Importing a module of the pipeline defines what is in it and does nothing else."""

import ast

import pytest
from conftest import ROOT

from tools.lines import BUDGET, lines

GUARDS = {"if __name__ == '__main__':", "if TYPE_CHECKING:"}


def works(statement: ast.stmt) -> bool:
    """Whether a module's statement does more than to import or to name something."""
    match statement:
        case ast.Expr(value=ast.Constant()):  # a docstring
            return False
        case ast.Assign(targets=[ast.Name() | ast.Tuple()]) | ast.AugAssign(target=ast.Name()) | ast.AnnAssign():
            return False
        case ast.If():
            return ast.unparse(statement).splitlines()[0] not in GUARDS
        case ast.Import() | ast.ImportFrom() | ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return False
    return True


def test_nothing_works_at_import() -> None:
    launcher = ROOT / "pipeline" / "stage.py"  # what it cannot import, it says in one line
    found = [
        f"{path.relative_to(ROOT)}:{statement.lineno}: {ast.unparse(statement).splitlines()[0]}"
        for path in sorted((ROOT / "pipeline").rglob("*.py"))
        for statement in ast.parse(path.read_text()).body
        if path != launcher and works(statement)
    ]
    assert not found


FAMILIES = {"counts", "vectors", "finetune", "prompting"}


def imported_by() -> dict[str, set[str]]:
    """By module under pipeline, the modules of the project that it imports, as `room.module`, or a room alone."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "pipeline").rglob("*.py"):
        nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        names = {f"{node.module}.{one.name}" for node in nodes for one in node.names}
        modules = {name for name in names if (ROOT / (name.replace(".", "/") + ".py")).is_file()}
        modules |= {str(node.module) for node in nodes} - {"pipeline"}
        own = path.relative_to(ROOT / "pipeline").with_suffix("").as_posix().replace("/", ".")
        found[own] = {
            name.removeprefix("pipeline.") for name in modules if name.startswith(("pipeline.", "tools", "benchmarks"))
        }
    return found


def room(module: str) -> str:
    return module.split(".", maxsplit=1)[0]


IMPORTS = sorted(
    (module, name) for module, names in imported_by().items() for name in names if room(name) != room(module)
)


ROOMS = {room(module) for module, _ in IMPORTS}
APART = {
    "families": (FAMILIES, FAMILIES),
    "contracts and statistics": ({"contracts", "stats"}, ROOMS - {"places"}),  # where results lie
    "what fits and what compares": (FAMILIES | {"fit", "data"}, {"compare", "errors", "curves", "report", "kaggle"}),
    "the pipeline and what is beside it": (ROOMS, {"tools", "benchmarks"}),
}


@pytest.mark.parametrize("case", APART)
def test_rooms_know_nothing_of_others(case: str) -> None:
    rooms, others = APART[case]
    assert not [(module, name) for module, name in IMPORTS if room(module) in rooms and room(name) in others]


def test_the_report_reads_files_and_imports_no_stage() -> None:
    stages = {name for module, name in IMPORTS if room(module) == "report"}
    paths = [ROOT / "pipeline" / (name.replace(".", "/") + ".py") for name in stages]
    assert not [path.name for path in paths if path.is_file() and "\ndef main()" in path.read_text()]


@pytest.mark.parametrize("folders", BUDGET)
def test_no_part_has_more_lines_than_it_may(folders: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert lines(folders) <= BUDGET[folders]
