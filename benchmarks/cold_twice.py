"""Whether two cold runs on one machine give the same outputs, byte for byte, and where not, by how much scores differ.

run: python -m benchmarks.cold_twice                                 (all of `dvc repro`, twice)
     python -m benchmarks.cold_twice logistic vectors@vae-minilm     (these stages)

Each run is in a copy of the project as it is now, without DVC's cache and with an answer store of its own. A flip is a tweet on
which the two runs decide differently at one half. It ends with 1 if anything differs but what holds times.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.contracts import InputError, read_params, read_yaml
from pipeline.data.source import DataParams
from pipeline.environment import machine
from pipeline.process import run

MEASURED = ("costs/", "evaluate/costs.csv", "evaluate/table.md", "report/", "transcripts/", "study/")
"""What holds times, or hashes of such; of the study the predictions alone hold none."""
NEITHER = (float("nan"), float("nan"))
NOBODY = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "nobody"), ("EMAIL", "nobody@example.org"), ("DATE", "2000-01-01T00:00:00Z"))
}
"""Who commits: the same in both runs, so that their commits are."""


def copy_project(folder: Path) -> None:
    """The files that git knows or would take, and the tweets; without what runs have left."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], capture_output=True, check=True)  # noqa: S607
    needed = [Path(name) for name in listed.stdout.decode().split("\0") if name and not name.endswith("dvc.lock")]
    for path in (Path(read_params("data", DataParams).source), Path("imports")):
        needed += [] if path.is_absolute() else [path, *path.rglob("*")]
    for path in needed:
        if path.is_file():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / path)
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "a cold run"]):  # DVCLive wants a commit
        subprocess.run(["git", *command], cwd=folder, env=os.environ | NOBODY, check=True)  # noqa: S607


def cold_run(folder: Path, stages: list[str]) -> None:
    """`dvc repro` with nothing to go back to: no cache, no run cache, no answers, no finished trainings."""
    own = {"DISASTER_TWEETS_STORE": str(folder.parent / f"store of {folder.name}")}
    own |= {name: str(folder.parent / "no config") for name in ("DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR")}
    command = [sys.executable, "-m", "dvc", "repro", "--no-run-cache", *stages]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(command, cwd=folder, env=os.environ | own | {"PATH": path}, check=False)
    if done.returncode:
        raise InputError(f"dvc repro failed in {folder}, with what is said above")


def scores_apart(first: Path, second: Path) -> tuple[float, float]:
    """The largest difference between two files' scores, and the share of tweets that are decided differently.

    A reply that can be read in one run only counts as both. NaN where the files do not hold scores of the same tweets.
    """
    try:
        one, other = (pd.read_parquet(path, columns=["id", "split", "score"]) for path in (first, second))
    except (OSError, ValueError, KeyError):
        return NEITHER
    if not one[["id", "split"]].equals(other[["id", "split"]]):
        return NEITHER
    a, b = one["score"].to_numpy(), other["score"].to_numpy()
    unread = np.isnan(a) != np.isnan(b)
    difference = np.where(unread, 1.0, np.abs(np.nan_to_num(a) - np.nan_to_num(b)))
    return float(difference.max()), float(np.mean(unread | ((a > 0.5) != (b > 0.5))))


def outputs(folder: Path) -> dict[str, str]:
    """DVC's hash of each output of the stages that ran, by path, but for what holds times."""
    locks: list[Any] = [read_yaml(path) for path in (folder / "dvc.lock", folder / "study/dvc.lock") if path.is_file()]
    outs = [out for lock in locks for stage in lock["stages"].values() for out in stage.get("outs", [])]
    kept = [out for out in outs if out["path"].startswith("study/predictions/") or not out["path"].startswith(MEASURED)]
    return {out["path"]: out["md5"] for out in kept}


def compare(first: Path, second: Path) -> pd.DataFrame:
    """A row for each output of either run, by path."""
    one, other = outputs(first), outputs(second)
    rows = {}
    for path in sorted(one.keys() | other.keys()):
        there = path in one and path in other
        same = there and one[path] == other[path]
        apart = scores_apart(first / path, second / path) if there and not same else NEITHER
        rows[path] = ("same" if same else "different" if there else "in one run", *apart)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["bytes", "largest difference", "flips"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="*", help="all that dvc.yaml names if none is given")
    parser.add_argument("--keep", type=Path, help="an empty folder to run in, which is kept")
    given = parser.parse_args()
    if given.keep and given.keep.is_dir() and any(given.keep.iterdir()):
        raise InputError(f"--keep {given.keep}: is not empty; what an earlier run left there would not run again")
    with tempfile.TemporaryDirectory() as temporary:
        both = [(given.keep or Path(temporary)).absolute() / name for name in ("first", "second")]
        for folder in both:
            copy_project(folder)
        for folder in both:
            cold_run(folder, given.stages)
        found = compare(*both)
    print("; ".join(f"{name} {value}" for name, value in machine().items()))
    print(found.to_markdown(floatfmt=".2g", missingval="–"))
    if (found["bytes"] != "same").any():
        sys.exit(1)


if __name__ == "__main__":
    run(main)
