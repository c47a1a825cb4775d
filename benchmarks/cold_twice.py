"""Whether two cold runs on one machine give the same predictions, byte for byte, and where not, by how much.

run: python -m benchmarks.cold_twice                                                    (all of `dvc repro`, twice)
     python -m benchmarks.cold_twice logistic vectors@vae-minilm -S data.source=data/kaggle   (these stages, with changed params)

Each run is in a copy of the project as it is now, without DVC's cache and with an answer store of its own. A flip is a tweet on
which the two runs decide differently at one half. It ends with 1 if anything differs.
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
from ruamel.yaml import YAML

from pipeline.contracts import InputError, read_yaml
from pipeline.environment import machine
from pipeline.process import run

COMPARED = (
    "data/prepared/*.parquet",
    "data/embed/*",
    "predictions/**/*.parquet",
    "blend/*.parquet",
    "submission/*.csv",
    "study/predictions/**/*.parquet",
)
MEASURED = (
    "costs/",
    "evaluate/costs.csv",
    "evaluate/table.md",
    "report/",
    "transcripts/",
    "study/",
)
"""What holds times, or hashes of such: of the other outputs these may differ."""
NOBODY = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "nobody"), ("EMAIL", "nobody@example.org"), ("DATE", "2000-01-01T00:00:00Z"))
}
"""Who commits: the same in both runs, so that their commits are."""


def copy_project(folder: Path, changes: dict[str, object]) -> None:
    """The files that git knows or would take, and the tweets; without what runs have left."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], capture_output=True, check=True)  # noqa: S607
    for name in listed.stdout.decode().split("\0"):
        if name and name != "dvc.lock" and Path(name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, folder / name)
    yaml = YAML()
    params: Any = yaml.load(Path("params.yaml"))
    for name, value in changes.items():
        *parents, key = name.split(".")
        section = params
        for parent in parents:
            if parent not in section:
                raise InputError(f"params.yaml: there is no {name}")
            section = section[parent]
        section[key] = value  # one that the file leaves to its default, too: the stage refuses what it does not know
    yaml.dump(params, folder / "params.yaml")
    source = Path(params["data"]["source"])
    for needed in (source, Path("imports")):
        if not needed.is_absolute() and needed.is_dir():
            shutil.copytree(needed, folder / needed, dirs_exist_ok=True)
        elif not needed.is_absolute() and needed.is_file():
            (folder / needed).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(needed, folder / needed)
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
        return float("nan"), float("nan")
    if not one[["id", "split"]].equals(other[["id", "split"]]):
        return float("nan"), float("nan")
    a, b = one["score"].to_numpy(), other["score"].to_numpy()
    unread = np.isnan(a) != np.isnan(b)
    difference = np.where(unread, 1.0, np.abs(np.nan_to_num(a) - np.nan_to_num(b)))
    return float(difference.max()), float(np.mean(unread | ((a > 0.5) != (b > 0.5))))


def compare(first: Path, second: Path) -> pd.DataFrame:
    """A row for each of the compared files of either run, by path."""
    names = {path.relative_to(run) for run in (first, second) for glob in COMPARED for path in run.glob(glob)}
    rows = []
    for name in sorted(names):
        one, other = first / name, second / name
        there = one.is_file() and other.is_file()
        same = there and one.read_bytes() == other.read_bytes()
        row: dict[str, object] = {
            "file": name.as_posix(),
            "bytes": "same" if same else "different" if there else "in one run",
        }
        if there and not same and name.suffix == ".parquet":
            row["largest difference"], row["flips"] = scores_apart(one, other)
        rows.append(row)
    return pd.DataFrame(rows, columns=["file", "bytes", "largest difference", "flips"]).set_index("file")


def other_outputs(first: Path, second: Path) -> list[str]:
    """The other outputs of the two runs that differ by DVC's hashes and hold no time."""

    def outs(folder: Path) -> dict[str, str]:
        lock: Any = read_yaml(folder / "dvc.lock")
        return {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage.get("outs", [])}

    one, other = outs(first), outs(second)
    compared = {path.relative_to(first).as_posix() for glob in COMPARED for path in first.glob(glob)}
    return sorted(
        path
        for path in one.keys() | other.keys()
        if one.get(path) != other.get(path) and path not in compared and not path.startswith(MEASURED)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="*", help="all that dvc.yaml names if none is given")
    parser.add_argument("-S", "--set", action="append", default=[], metavar="NAME=VALUE", help="a changed param")
    parser.add_argument("--keep", type=Path, help="an empty folder to run in, which is kept")
    given = parser.parse_args()
    if given.keep and given.keep.is_dir() and any(given.keep.iterdir()):
        raise InputError(f"--keep {given.keep}: is not empty; what an earlier run left there would not run again")
    yaml = YAML(typ="safe")
    changes = {name: yaml.load(value) for name, _, value in (change.partition("=") for change in given.set)}
    with tempfile.TemporaryDirectory() as temporary:
        both = [(given.keep or Path(temporary)).absolute() / name for name in ("first", "second")]
        for folder in both:
            copy_project(folder, changes)
        for folder in both:
            cold_run(folder, given.stages)
        found, others = compare(*both), other_outputs(*both)
    print("; ".join(f"{name} {value}" for name, value in machine().items()))
    print(found.to_markdown(floatfmt=".2g", missingval="–"))
    print(f"other outputs that differ: {', '.join(others) or 'none'}")
    if (found["bytes"] != "same").any() or others:
        sys.exit(1)


if __name__ == "__main__":
    run(main)
