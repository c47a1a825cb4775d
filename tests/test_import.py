"""Importing a module of the pipeline defines what is in it and does nothing else."""

import ast

import pytest
from conftest import ROOT

GUARDS = {"if __name__ == '__main__':", "if TYPE_CHECKING:"}


def works(statement: ast.stmt) -> bool:
    """Whether a module's statement does more than to import or to name something."""
    match statement:
        case ast.Expr(value=ast.Constant()):  # a docstring
            return False
        case ast.Assign(targets=targets):
            return any(not isinstance(target, ast.Name | ast.Tuple) for target in targets)
        case ast.AugAssign(target=target):
            return not isinstance(target, ast.Name)
        case ast.If():
            return ast.unparse(statement).splitlines()[0] not in GUARDS
        case (
            ast.Import()
            | ast.ImportFrom()
            | ast.FunctionDef()
            | ast.AsyncFunctionDef()
            | ast.ClassDef()
            | ast.AnnAssign()
        ):
            return False
    return True


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('"""What it is."""\nimport os\nNAMES = ("a",)\nx: int = 1\nclass A: ...\ndef f(): f()', False),
        ("if __name__ == '__main__':\n    run(main)", False),
        ("warnings.filterwarnings('ignore')", True),
        ("sys.excepthook = show", True),
        ("os.environ['A'] = '1'", True),
        ("os.environ |= {'A': '1'}", True),
        ("with absent('torch'):\n    import evaluate", True),
        ("if sys.argv[0] == '-m':\n    work()", True),
    ],
)
def test_work_is_told_from_definitions(source: str, expected: bool) -> None:
    assert any(map(works, ast.parse(source).body)) is expected


def test_nothing_works_at_import() -> None:
    launcher = ROOT / "pipeline" / "stage.py"  # what it cannot import, it says in one line
    found = [
        f"{path.relative_to(ROOT)}:{statement.lineno}: {ast.unparse(statement).splitlines()[0]}"
        for path in sorted((ROOT / "pipeline").rglob("*.py"))
        for statement in ast.parse(path.read_text()).body
        if path != launcher and works(statement)
    ]
    assert not found
