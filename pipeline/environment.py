"""What a result was made with: commit, packages, machine. No name of a host, a user or a folder is among it."""

import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import psutil

from pipeline.waiting import cores

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""The variables that say how many threads numpy and torch compute with: another number may round differently."""
MAKING = ("pipeline", "prompts", "data", "dvc.yaml", "params.yaml", "requirements")
"""What makes results, of what git knows."""


def output(*command: str) -> str | None:
    """What a command prints; None where there is no such command, or it fails."""
    if not (path := shutil.which(command[0])):
        return None
    try:
        done = subprocess.run([path, *command[1:]], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def commit() -> str | None:
    """The commit that is checked out, and whether what makes results differs from it, in words; None outside of a repository.

    DVC writes results that git knows (dvc.lock, metrics) while it runs: these do not count.
    """
    if not (found := output("git", "rev-parse", "HEAD")):
        return None
    changed = output("git", "status", "--porcelain", "-uno", "--", *MAKING)
    return f"{found[:12]}, with changes that are not committed" if changed else found[:12]


def cpu() -> str:
    """The processor's name, as far as the system tells it."""
    if (cpuinfo := Path("/proc/cpuinfo")).is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return output("sysctl", "-n", "machdep.cpu.brand_string") or platform.processor() or platform.machine()


def machine() -> dict[str, str]:
    """What computes, for people to read. Of GPUs it knows Nvidia's: torch, which knows others, is not loaded for it."""
    gpus = output("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader") or ""
    found = {
        "processor": cpu(),
        "cores": str(os.cpu_count()),
        "cores that may be used": str(len(cores())),
        "memory": f"{psutil.virtual_memory().total / 1e9:.1f} GB",
        "GPU": "; ".join(gpus.splitlines()),
        "threads": ", ".join(f"{name}={os.environ[name]}" for name in THREADS if os.environ.get(name)),
        "platform": platform.platform(),
        "Python": platform.python_version(),
    }
    return {name: value for name, value in found.items() if value}


def packages() -> dict[str, str]:
    """The versions of all that is installed, by name."""
    found = {one.name.lower().replace("_", "-"): one.version for one in metadata.distributions() if one.name}
    return dict(sorted(found.items()))
