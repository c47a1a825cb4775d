"""How a stage runs: to one line where something is wrong, ending with the DVC that started it, alone at its outputs."""

import inspect
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from io import TextIOWrapper
from pathlib import Path
from traceback import clear_frames
from typing import NoReturn

import psutil
from filelock import FileLock, Timeout

from pipeline.contracts.errors import fault, show
from pipeline.places import results
from pipeline.waiting import quiet

LOCKS = Path(".dvc/tmp/stages")
"""In the project's folder, as the outputs are, and known to git and DVC as nothing of theirs."""

DRIVER = "DISASTER_TWEETS_DRIVER"
"""The environment variable with the number of the process that started DVC, if that is ours (`pipeline.repro`)."""


def run(main: Callable[[], None], *, many: bool = False) -> NoReturn:
    """Run a stage's main and exit: 0 when it returns, 1 with one line on stderr when the input or the machine is at fault.

    Neither that line nor a traceback shows what is secret. A second process with the same arguments waits for the first, unless
    there may be `many` at once.
    """
    sys.excepthook = show
    quiet()
    if isinstance(sys.stdout, TextIOWrapper):  # a terminal that is not UTF-8 is no reason to stop
        sys.stdout.reconfigure(errors="backslashreplace")
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


# --- the process that started it --------------------------------------------------------------------------------------


def started_by() -> list[psutil.Process]:
    """The processes that this one is to end with: those above it up to the DVC that started it, and who started that DVC.

    DVC tells its commands, and so all that is between (a shell, a launcher), in which stage they are; the first that was not
    told is DVC itself, or a program that calls it. None if this process was started by hand. `psutil.NoSuchProcess` if one is
    gone already: what inherits orphans (init, launchd, a session's systemd, a container's first process) is none of them.
    """
    above: list[psutil.Process] = []
    if "DVC_STAGE" not in os.environ:
        return above
    for process in psutil.Process().parents():
        above.append(process)
        try:
            told = "DVC_STAGE" in process.environ()
        except psutil.AccessDenied:
            told = False
        if not told:
            line, first = process.cmdline(), process.pid == 1
            if any(Path(part).name == "dvc" for part in line[:3]) or (
                not first and re.search("(?i)dvc|python", f"{line}")
            ):
                break
            raise psutil.NoSuchProcess(process.pid)
    return above + ([psutil.Process(int(os.environ[DRIVER]))] if DRIVER in os.environ else [])


def end_with_dvc() -> None:
    """See to it that this process ends at once when the DVC that started it does, even by kill -9.

    It would go on writing otherwise while the next `dvc repro` runs. The same if who started that DVC ends.
    """

    def watch() -> None:
        with suppress(psutil.NoSuchProcess):
            while all(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in above):
                time.sleep(0.25)
        end_at_once()

    try:
        above = started_by()
    except psutil.Error:
        end_at_once()
    if above:
        threading.Thread(target=watch, name="end with dvc", daemon=True).start()


def end_at_once() -> NoReturn:
    """End this process and those that it started, from any thread, without writing anything more."""
    with suppress(OSError):  # the terminal may be gone, too
        os.write(2, b"\nerror: the dvc that started this stage is gone; run `dvc repro` again to go on\n")
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            child.kill()
    os._exit(1)


# --- other processes at the same stage --------------------------------------------------------------------------------


def stage_name(main: Callable[[], None]) -> str:
    """What says which outputs a command writes: its module, or that of the family whose main it is, and its arguments."""
    module = Path(inspect.getfile(getattr(main, "__self__", main))).stem
    return re.sub(r"[^\w.-]+", "_", "_".join([module, *sys.argv[1:]]))[:120]


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Run the block while no other process of this project runs one of that name; the lock ends with the process."""
    later = os.environ.get("RANK", "0") != "0"  # of one `accelerate launch`: the first holds the lock for all
    if later or not Path(".dvc").is_dir():
        yield
        return
    LOCKS.mkdir(parents=True, exist_ok=True)
    lock = FileLock(LOCKS / f"{name}.lock")
    held: AbstractContextManager[object]
    try:
        held = lock.acquire(blocking=False)
    except Timeout:
        print(f"waiting: another process is at {name} and writes the same files", file=sys.stderr, flush=True)
        held = lock.acquire()
    except OSError:  # a file system without locks, or another user's: then there are none
        held = nullcontext()
    with held:
        yield
