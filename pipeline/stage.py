"""Start a stage: all that must be set before its libraries load is set here, and its module is imported, never `__main__`.

run: python -m pipeline.stage counts.naive_bayes
     python -m pipeline.stage --study vectors.mixture minilm   (results below study/)
"""

import importlib
import re
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

try:
    from pipeline import places, waiting

    waiting.busy_elsewhere()  # from here on, for `choose`
    from pipeline.contracts.errors import InputError, show
    from pipeline.process import run
except ModuleNotFoundError as missing:
    sys.exit(
        f"error: {missing.name} is not installed in {sys.prefix}; activate the project's environment "
        "(. .venv/bin/activate), or make it (`make install`)"
    )


def start(arguments: list[str]) -> NoReturn:
    """Run the stage's main, with the rest of the arguments as those of its command line, and exit."""
    sys.excepthook = show
    study = arguments[:1] == ["--study"]
    places.work_in(places.STUDY if study else Path())
    name, *rest = arguments[study:] or [""]
    if not re.fullmatch(r"\w+(\.\w+)+", name):
        raise InputError("usage: python -m pipeline.stage [--study] MODULE [ARGUMENT ...], such as counts.naive_bayes")
    waiting.quiet()
    waiting.choose()
    sys.argv = [f"pipeline.stage {name}", *rest]
    run(main_of(f"pipeline.{name}"))


def main_of(module: str) -> Callable[[], None]:
    """The function that is the stage, its libraries loaded: the module's `main`, or that of its FAMILY."""
    found = importlib.import_module(module) if find_spec(module) else None
    main: Callable[[], None] | None = getattr(getattr(found, "FAMILY", found), "main", None)
    if main is None:
        raise InputError(f"{module}: no such stage")
    return main


if __name__ == "__main__":
    start(sys.argv[1:])
