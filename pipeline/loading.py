"""Loading a library without another one that it would load for parts of it that are not used here: seconds in every stage."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def as_if_absent(module: str) -> Iterator[None]:
    """Imports in the block find a module that is not loaded yet not to be installed; those after it find it again.

    For libraries that can do without it. How: https://docs.python.org/3/reference/import.html#the-module-cache
    """
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]
