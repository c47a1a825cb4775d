"""Start a stage: all that must be set before its libraries load is set here, and its module is imported, never `__main__`.

run: python -m pipeline.stage counts.naive_bayes
     python -m pipeline.stage --study vectors.mixture minilm   (results below study/)
"""

import importlib
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

try:
    from pipeline import places, waiting

    LOADING = waiting.snapshot()
    from pipeline.contracts.errors import InputError, show
    from pipeline.process import run
except ModuleNotFoundError as missing:
    sys.exit(
        f"error: {missing.name} is not installed in {sys.prefix}; activate the project's environment "
        "(. .venv/bin/activate), or make it (`make install`)"
    )

USAGE = "usage: python -m pipeline.stage [--study] MODULE [ARGUMENT ...], such as counts.naive_bayes"


def start(arguments: list[str]) -> NoReturn:
    """Run the stage's `main`, or that of its FAMILY, with the other arguments as those of its command line, and exit."""
    sys.excepthook = show
    study = arguments[:1] == ["--study"]
    places.work_in(places.STUDY if study else Path())
    name, *rest = arguments[study:] or [""]
    if not re.fullmatch(r"\w+(\.\w+)+", name):
        raise InputError(USAGE)
    waiting.quiet()
    waiting.choose(LOADING)
    sys.argv = [f"pipeline.stage {name}", *rest]
    module = importlib.import_module(f"pipeline.{name}") if find_spec(f"pipeline.{name}") else None
    of_module = getattr(module, "main", None) or getattr(getattr(module, "FAMILY", None), "main", None)
    if of_module is None:
        raise InputError(f"pipeline.{name}: no such stage")
    run(of_module)


if __name__ == "__main__":
    start(sys.argv[1:])
