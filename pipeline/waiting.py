"""What libraries read in the environment as they load: how their threads wait for each other, and what they show.

Threads that compute together wait for the slowest. Those that spin as they wait begin again at once, which is fastest where each
has a core of its own; where it has not, they take the core from the one that they wait for. So the launcher measures how busy
others keep the machine while it loads what it needs anyway, and chooses for OpenMP's runtimes (torch, scikit-learn, llama.cpp).
The number of threads is never touched: results depend on it to the last digit, and must not depend on the load.
"""

import os
import sys

import psutil

GIVEN = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""Who sets one of these has chosen."""
THIS = psutil.Process()
BUSY = 0.5
"""Cores that others keep busy, from which on threads sleep. Less is what a desktop does, or the error of a short measurement."""
ASLEEP = {"OMP_WAIT_POLICY": "PASSIVE"}
SPINNING = {"GOMP_SPINCOUNT": "10000"}
"""Microseconds, for libgomp's milliseconds: as fast alone, and a job that comes later finds less in its way."""


def cores() -> set[int]:
    """The numbers of the cores that this process may use."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def busy_elsewhere() -> float:
    """How many of the cores that may be used were busy with other processes, or taken by another virtual machine.

    That is since this was last asked, 0.3 s ago or more; the first answer says nothing.
    """
    usable = cores()
    busy = [each for number, each in enumerate(psutil.cpu_percent(percpu=True)) if number in usable]
    return max(0.0, float(sum(busy) - THIS.cpu_percent()) / 100)


def choose() -> None:
    """Choose how threads wait, unless the environment says so, by how busy others were: libraries load later."""
    if not any(name in os.environ for name in GIVEN):
        os.environ.update(ASLEEP if busy_elsewhere() >= BUSY else SPINNING)


def asleep() -> bool:
    """Whether threads are to sleep while they wait."""
    return os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE"


def quiet() -> None:
    """Let the libraries show neither bars nor reports of their own, and no bar at all where nobody watches."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    bars = ["HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS"]
    for name in bars if sys.stderr.isatty() else [*bars, "TQDM_DISABLE"]:
        os.environ.setdefault(name, "1")
