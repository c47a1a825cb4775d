"""How a stage lives among other processes: it ends with the DVC that started it, and is alone at its outputs.

Also what the machine may run out of under it, each as one line.
"""

import errno
import inspect
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

LOCKS = Path(".dvc/tmp/stages")
"""In the project's folder, as the outputs are, and known to git and DVC as nothing of theirs."""

DRIVER = "DISASTER_TWEETS_DRIVER"
"""The environment variable with the number of the process that started DVC, if that is ours (`pipeline.repro`)."""

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
    """What says which outputs a command writes: its module and its arguments."""
    return re.sub(r"[^\w.-]+", "_", "_".join([Path(inspect.getfile(main)).stem, *sys.argv[1:]]))[:120]


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
