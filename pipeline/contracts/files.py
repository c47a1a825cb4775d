"""Files that are written whole or not at all, and files that stages wrote."""

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from pipeline.contracts.errors import InputError, exhausted, reason


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A path to write to that becomes `path` only if the block succeeds. What a killed process left of it is cleared."""
    begun = f".{path.name}.{platform.node()}."
    partial = path.with_name(f"{begun}{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for other in path.parent.iterdir():
            if other.name.startswith(begun) and not psutil.pid_exists(int(other.name.split(".")[-2])):
                other.unlink(missing_ok=True)
        yield partial
        partial.replace(path)
    except (ConnectionError, TimeoutError):  # of what goes on in the block, and not of the file
        raise
    except OSError as error:
        raise InputError(exhausted(error) or f"{path}: cannot be written: {reason(error)}") from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """What a JSON file that a stage wrote holds."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {reason(error)}") from None


def read_parquet(path: Path) -> pd.DataFrame:
    """The frame in a parquet file that a stage wrote."""
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError) as error:  # whatever bytes there are in it
        raise InputError(f"{path}: not a parquet file: {reason(error)}") from None


def write_csv(path: Path, frame: pd.DataFrame, digits: int | None = None, *, index: bool = False) -> None:
    """The frame with numbers of so many digits after the point; all that they have, if nothing is said."""
    with written_whole(path) as partial:
        (frame if digits is None else frame.round(digits)).to_csv(partial, index=index)
