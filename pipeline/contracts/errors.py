"""Errors of one line: what the user can mend, and what the machine ran out of, without anything secret."""

import errno
import json
import os
import re
import sys
import traceback
from types import TracebackType

from pydantic import ValidationError

SPEAKS_OF_SECRETS = "KEY|TOKEN|SECRET|PASSW|PASSPHRASE"
SECRET_NAMES: set[str] = set()
"""Variables of the environment that params say hold a secret, whatever they are called."""


class InputError(Exception):
    """Something the user can mend: the message says what is wrong, where, and what to do, in one line."""


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
    """The text without the values of variables that hold a secret, as they are, escaped, or without blanks around them.

    Of variables that only sound like it, values of 8 characters or more. What is shorter is taken out where it stands alone.
    """
    secret = {name for name in os.environ if name in SECRET_NAMES or re.search(SPEAKS_OF_SECRETS, name.upper())}
    values = [value for name in secret if len(value := os.environ[name].strip()) >= (1 if name in SECRET_NAMES else 8)]
    shown = {form for value in values for form in (value, repr(value)[1:-1], json.dumps(value)[1:-1])}
    for form in sorted(shown, key=len, reverse=True):  # one may begin another
        text = text.replace(form, "***") if len(form) >= 8 else re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", "***", text)
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


# --- what the machine ran out of --------------------------------------------------------------------------------------

BY_NUMBER = {
    errno.ENOSPC: "the disk is full; free some space and run again",
    errno.EDQUOT: "your share of the disk is used up; free some space and run again",
    errno.EFBIG: "the file is larger than is allowed here (see `ulimit -f`)",
    errno.EROFS: "the disk can only be read; run where the project's folder can be written to",
    errno.EMFILE: "too many files are open; raise the limit (`ulimit -n 4096`) and run again",
    errno.ENFILE: "too many files are open on this machine; close some programs and run again",
    errno.ENOMEM: "not enough memory; close other programs, or use smaller params (batch_size, encoder)",
}
# Libraries that raise an error of their own name the reason in its text.
BY_TEXT = {
    r"No space left on device|disk is full|file write failed|unexpected pos \d+ vs": errno.ENOSPC,  # the last two are torch's
    r"File too large": errno.EFBIG,
    r"Read-only file system": errno.EROFS,
    r"Too many open files": errno.EMFILE,
    r"can't allocate memory|Cannot allocate memory|bad_alloc|out of memory|can't start new thread": errno.ENOMEM,
    "failed to map segment": errno.ENOMEM,
}


def exhausted(error: BaseException) -> str | None:
    """One line on what the machine ran out of; None if the error, or what caused it, says nothing of that."""
    seen: BaseException | None = error
    while seen is not None:
        number = seen.errno if isinstance(seen, OSError) else None
        if isinstance(seen, MemoryError):
            number = errno.ENOMEM
        if number not in BY_NUMBER:
            number = next((one for text, one in BY_TEXT.items() if re.search(text, str(seen), re.IGNORECASE)), None)
        if number is not None:
            where = f"{seen.filename}: " if isinstance(seen, OSError) and seen.filename else ""
            return where + BY_NUMBER[number]
        seen = seen.__cause__ or seen.__context__
    return None
