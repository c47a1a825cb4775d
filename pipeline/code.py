"""What code determines a result: the modules that compute it, and the versions of the libraries that they compute with.

Both are found in the imports, and not among what is loaded: which stages ran before in the same process changes nothing.
"""

import ast
import platform
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]

ASIDE = {
    f"pipeline.{name}"
    for name in (
        "fit.model_files", "fit.model_store", "data.csv_file",
        "data.embed", "data.source", "latency", "packaged", "places", "process", "stage", "store", "waiting",
    )
}  # fmt: skip
"""Beside the contracts, modules that decide about no score: how a process lives, how files are found, written, read and timed."""

LIBRARIES = {
    "numpy": ["numpy"],
    "pandas": ["pandas"],
    "peft": ["peft"],
    "scipy": ["scipy"],
    "sklearn": ["scikit-learn", "scipy"],
    "torch": ["torch"],
    "transformers": ["transformers", "tokenizers"],
}
"""By the name that computing modules import, the packages whose versions may change a score."""


def read(path: Path) -> tuple[str, frozenset[str]]:
    """A module without its comments, its docstrings and the words of its errors; and the names that it imports."""
    tree, names = ast.parse(path.read_bytes()), set[str]()
    for node in ast.walk(tree):
        match node:
            case ast.Raise():
                node.exc = None
            case ast.Expr(value=ast.Constant()):
                node.value = ast.Constant(None)
            case ast.Import():
                names |= {alias.name for alias in node.names}
            case ast.ImportFrom():
                names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return ast.dump(tree), frozenset(names)


def aside(module: str) -> bool:
    return module in ASIDE or module.startswith("pipeline.contracts")


def computing(*modules: str) -> dict[str, str]:
    """The code of these modules and of those not `aside` that they import, directly or not, by name; and the versions."""
    found: dict[str, str] = {}
    libraries: set[str] = set()
    todo = list(modules)
    while todo:
        name = todo.pop()
        path = ROOT / f"{name.replace('.', '/')}.py"
        if name in found or not path.is_file():
            continue
        found[name], names = read(path)
        libraries |= {each.split(".")[0] for each in names}
        todo += [each for each in names if each.startswith("pipeline.") and not aside(each)]
    packages = {package for each in libraries for package in LIBRARIES.get(each, [])}
    return (
        found | {"python": ".".join(platform.python_version_tuple()[:2])} | {each: version(each) for each in packages}
    )
