"""Errors of one line: what the user can mend, and what the machine ran out of, without anything secret."""

import json
import os
import re
import sys
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from traceback import clear_frames
from types import TracebackType
from typing import NoReturn

from pydantic import ValidationError

from pipeline.places import results
from pipeline.process import alone, end_with_dvc, exhausted, stage_name
from pipeline.waiting import quiet

SPEAKS_OF_SECRETS = "KEY|TOKEN|SECRET|PASSW|PASSPHRASE"
SECRET_NAMES: set[str] = set()
"""Variables of the environment that params say hold a secret, whatever they are called."""


class InputError(Exception):
    """Something the user can mend: the message says what is wrong, where, and what to do, in one line."""


def run(main: Callable[[], None], *, many: bool = False) -> NoReturn:
    """Run a stage's main and exit: 0 when it returns, 1 with one line on stderr when the input or the machine is at fault.

    Neither that line nor a traceback shows what is secret. A second process with the same arguments waits for the first, unless
    there may be `many` at once.
    """
    sys.excepthook = show
    quiet()
    try:
        end_with_dvc()
        with nullcontext() if many else alone(str(results(stage_name(main))).replace(os.sep, ".")):
            main()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if (line := fault(error)) is None:
            raise
        clear_frames(error.__traceback__)  # a progress bar that is still open ends its line
        sys.exit(f"error: {line}")
    sys.exit(0)


def fault(error: BaseException) -> str | None:
    """One line on what is wrong with the input or the machine; None if the fault is the program's own."""
    if isinstance(error, InputError):
        return printable(redacted(str(error)))
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("pipeline"):
        return f"{error.name} is not installed; run `make {'dev' if str(error.name).startswith('onnx') else 'install'}`"
    return exhausted(error)


def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What the interpreter is to show of an error that nobody caught: its one line, or else a traceback without secrets."""
    if issubclass(kind, KeyboardInterrupt):
        return
    line = fault(error)
    shown = redacted("".join(traceback.format_exception(kind, error, trace))) if line is None else f"error: {line}\n"
    sys.stderr.write(shown)


def redacted(text: str) -> str:
    """The text without users and passwords of addresses, without their queries, and without secrets of the environment.

    Those are the values of variables of `SECRET_NAMES`, and of those whose names speak of a key, a token, a secret or a password.
    """
    text = re.sub(r"(?<=://)[^\s'\"]+@", "***@", text)
    return without_secrets(re.sub(r"(\w+://[^\s?'\"]+\?)[^\s'\"]+", r"\1***", text))


def without_secrets(text: str) -> str:
    """The text without the values, of 8 characters or more, of variables that hold a secret, as they are or escaped."""
    secret = {name for name in os.environ if name in SECRET_NAMES or re.search(SPEAKS_OF_SECRETS, name.upper())}
    values = [value for name in secret if len(value := os.environ[name]) >= 8]
    shown = {form for value in values for form in (value, repr(value)[1:-1], json.dumps(value)[1:-1])}
    for form in sorted(shown, key=len, reverse=True):  # one may begin another
        text = text.replace(form, "***")
    return text


def printable(text: str) -> str:
    """One line: what a terminal would not show as it is (line breaks, control characters) is written as its escape."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def reason(error: Exception) -> str:
    """What an error says, in one line and without the path that the reader of it was told."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return redacted(" ".join(text.split()))[:300] or type(error).__name__


def first_fault(error: ValidationError | OSError) -> str:
    """The first thing that is wrong with a file, in one line."""
    if isinstance(error, OSError):
        return reason(error)
    first = error.errors()[0]
    return ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))
