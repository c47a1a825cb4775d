"""Run the kaggle command line, and say in one line why it failed.

It authenticates at import and exits where it cannot, so it is a process of its own. What it prints is never shown as it
is: its messages can hold the token, or an address that is as good as one.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from pipeline.contracts import InputError
from pipeline.kaggle.credentials import redacted
from pipeline.kaggle.failures import NO_SPACE, explain
from pipeline.store import store_folder

WORTH_TELLING = r"(Retry \d|Retrying in|Resuming from)"
"""Lines of a download that are passed on: without them a wait of a minute looks like a command that hangs."""


def kaggle(competition: str, verb: str, *arguments: str) -> str:
    """What `kaggle competitions <verb> <competition> ...` printed; `InputError` in one line if it failed."""
    command = [sys.executable, "-m", "kaggle", "-W", "competitions", verb, competition, *arguments]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("VERBOSE")
    }  # prints the token
    environment |= {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
    printed = []
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace"
    ) as process:
        for line in process.stdout or ():
            printed.append(line)
            if re.search(NO_SPACE, line):  # it would try five times more
                process.kill()
            elif re.match(WORTH_TELLING, line):
                print(f"kaggle: {redacted(line.strip())}", file=sys.stderr)
    if process.returncode != 0:
        raise explain("".join(printed), competition)
    return "".join(printed)


@contextmanager
def only_one(what: str) -> Iterator[None]:
    """Refuse to go on while another process of this user does the same."""
    try:
        held = FileLock(store_folder() / f"kaggle_{what}.lock").acquire(blocking=False)
    except Timeout:
        raise InputError(f"another {what} is running: wait until it has ended") from None
    with held:
        yield
