"""Where the report comes from: commit, params, data, packages, machine."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "numpy", "pandas", "scikit-learn", "scipy", "torch", "transformers", "peft", "openai", "xllamacpp", "dvc", "altair",
)  # fmt: skip


def git(*arguments: str) -> str | None:
    """What git says; None without git, or outside of a repository."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)  # noqa: S607
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def commit() -> str | None:
    """The commit that is checked out, and whether files that git knows differ from it."""
    head = git("rev-parse", "--short=12", "HEAD")
    if head is None:
        return None
    return f"{head}, with changes that are not committed" if git("status", "--porcelain", "-uno") else head


def cpu() -> str:
    """The processor's name, as far as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def memory() -> str | None:
    """The machine's memory in GB; None where the system does not tell it."""
    try:
        return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 1e9:.1f} GB"
    except (AttributeError, OSError, ValueError):
        return None


def versions() -> list[tuple[str, str]]:
    """Those of the packages that are installed."""
    found = []
    for name in PACKAGES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    return found


def flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested params as names with dots and values."""
    found = []
    for key, value in values.items():
        if isinstance(value, dict):
            found += flat(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", "null" if value is None else str(value)))
    return found


def provenance(params: dict[str, Any], data: dict[str, Any], digest: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """Groups of names and values; data is prepare's report, digest that of the prepared tweets."""
    machine = [
        ("processor", cpu()),
        ("cores", str(os.cpu_count())),
        ("memory", memory()),
        ("platform", platform.platform()),
        ("Python", platform.python_version()),
    ]
    rows = data["rows"]
    tweets = [
        ("source", data["source"]),
        ("tweets", f"{rows['train']:,} for training, {rows['test']:,} for testing"),
        ("folds", str(len(data["folds"]))),
        ("SHA-256 of the prepared tweets", digest),
    ]
    return [
        ("Code", [("commit", commit() or "not in a git repository")]),
        ("Tweets", tweets),
        ("Machine that made this page", [(name, value) for name, value in machine if value]),
        ("Packages", versions()),
        ("Params", flat(params)),
    ]
