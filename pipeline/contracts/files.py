"""Files that are written whole or not at all, and files that stages wrote."""

import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from glob import escape
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from pipeline.contracts.errors import InputError, exhausted, reason

LEFT = 24 * 3600
"""Seconds without a change after which a partial file of elsewhere was left by a killed process."""


@cache
def numbering() -> str:
    """Where a process's number says which it is: this machine, since it was started, and within it this container."""
    try:
        booted = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
        return f"{booted}-{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return platform.node()


def abandoned(partial: Path, begun: str) -> bool:
    """Whether who wrote a partial file is gone: seen by its number, or where that says nothing, by the clock."""
    number = partial.name.removesuffix(".partial").removeprefix(begun)
    return not psutil.pid_exists(int(number)) if number.isdecimal() else time.time() - partial.stat().st_mtime > LEFT


def sync(path: Path, flags: int) -> None:
    """See to it that what was written to a file, or which files a folder has, outlasts a loss of power."""
    file = os.open(path, flags)
    try:
        os.fsync(file)
    finally:
        os.close(file)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A path to write to that becomes `path` only if the block succeeds: whole or not at all, also when the power fails."""
    begun = f".{path.name}.{numbering()}."
    partial = path.with_name(f"{begun}{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for other in path.parent.glob(f".{escape(path.name)}.*.partial"):
            with suppress(OSError):
                if abandoned(other, begun):
                    other.unlink()
        yield partial
        sync(partial, os.O_RDWR)
        partial.replace(path)
        with suppress(OSError):  # Windows opens no folders, and some file systems sync none
            sync(path.parent, os.O_RDONLY)
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
