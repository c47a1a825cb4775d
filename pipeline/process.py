"""How a stage runs: to one line where something is wrong, ending with the DVC that started it, alone at its outputs."""

import inspect
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
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
    """The processes above this one, up to the DVC that started it; none if it was started by hand.

    DVC tells its commands, and so all that is between (a shell, a launcher), in which stage they are. The first that was not
    told is DVC itself.
    """
    above: list[psutil.Process] = []
    if "DVC_STAGE" in os.environ:
        for process in psutil.Process().parents():
            above.append(process)
            try:
                told = "DVC_STAGE" in process.environ()
            except psutil.Error:
                told = False
            if not told:
                break
    return above


def is_dvc(process: psutil.Process) -> bool:
    """Whether this can be DVC, or a program that calls it; what inherits orphans (init, launchd, a session's systemd) is not.

    The first process of a container inherits them too, and its command line may speak of DVC: there it must be DVC itself.
    """
    try:
        line = process.cmdline()
    except psutil.Error:  # gone, or another user's
        return False
    if process.pid == 1:
        return any(Path(part).name == "dvc" for part in line[:3])
    return bool(re.search("dvc|python", " ".join(line), re.IGNORECASE))


def alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def end_with_dvc(every: float = 0.25) -> None:
    """See to it that this process ends within `every` seconds when the DVC that started it does, even by kill -9.

    It would go on writing otherwise while the next `dvc repro` runs. The same if who started that DVC ends: it would go on
    unseen. Started by hand it is left alone.
    """
    above = started_by()
    if not above:
        return
    if not is_dvc(above[-1]):  # it was killed while this process was still loading
        end_at_once()
    try:
        above += [psutil.Process(int(os.environ[DRIVER]))] if DRIVER in os.environ else []
    except psutil.NoSuchProcess:
        end_at_once()

    def watch() -> None:
        while all(map(alive, above)):
            time.sleep(every)
        end_at_once()

    threading.Thread(target=watch, name="end with dvc", daemon=True).start()


def end_at_once() -> None:
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
    return re.sub(
        r"[^\w.-]+", "_", "_".join([Path(inspect.getfile(getattr(main, "__self__", main))).stem, *sys.argv[1:]])
    )[:120]


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Run the block while no other process of this project runs one of that name; the lock ends with the process.

    The processes of one `accelerate launch` share a stage: the first holds the lock for all.
    """
    if not Path(".dvc").is_dir() or os.environ.get("RANK", "0") != "0":
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
