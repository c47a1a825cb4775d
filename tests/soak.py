"""Kill `make repro` with -9 many times, and look whether the results are those of an unbroken run.

An unbroken run of the whole pipeline on 110 tweets; then a second one that is killed at random moments of stages of every kind,
and run again until it ends. Ends with 1 if anything differs or is left over. Of full disks and little memory see test_faults.

run: make soak   (or PYTHONPATH=. python tests/soak.py --kills 20 --seed 0; --quick for a few minutes)
"""

import argparse
import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

import psutil
from conftest import QUICK, clean_environment, commit, copy_project, set_param
from tabulate import tabulate

from pipeline.prompting.answers import AnswerStore

QUICK_TARGETS = [
    "counts@logistic",
    "vectors@gaussian-minilm",
    "prompt@few_shot",
    "study/dvc.yaml:learning_curve@naive_bayes",
]
"""What a quick soak reproduces, and what that needs."""

WHO = ("driver", "dvc", "all", "stage")
"""Whom a kill hits: what `make repro` starts, the DVC below it, all processes of the run, or the stage alone."""


def new_project(folder: Path) -> Path:
    """A git repository with a copy of the project."""
    copy_project(folder)
    for name, value in (QUICK | {"lora.minilm.epochs": 8}).items():  # long enough to be killed in the midst of it
        set_param(folder, name, value)
    commit(folder)
    return folder


def digests(folder: Path) -> dict[str, str]:
    """A hash of all predictions and of what was made of them."""
    paths = [*folder.glob("predictions/**/*.parquet"), *folder.glob("study/**/*.parquet")]
    paths += [folder / "blend/blend.parquet", folder / "submission/submission.csv"]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(paths)
        if path.exists()
    }


def answers(folder: Path) -> int:
    """How many answers of the LLM the store holds."""
    path = folder.parent / f"{folder.name}-store" / "answers.sqlite"
    if not path.exists():
        return 0
    with closing(AnswerStore(path)) as store:
        return store.count()


class Run:
    """What `make repro` runs, as a process group of its own, and the stages that it begins, as it begins them."""

    def __init__(self, folder: Path, targets: list[str]) -> None:
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.repro", *targets],
            cwd=folder,
            env=clean_environment(folder.parent / f"{folder.name}-store", PYTHONUNBUFFERED="1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def stages(self) -> Iterator[str]:
        """Each stage when it begins, until the run ends."""
        for line in self.process.stdout or ():
            self.said.append(line)
            if begun := re.match(r"stage \d+(?: of \d+)?: ([^, \n]+)", line):
                yield begun[1]

    def kill(self, who: str) -> float:
        """Kill -9; the seconds until the last process is gone."""
        below: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess, ProcessLookupError):  # it may have ended by itself
            driver = psutil.Process(self.process.pid)
            below = driver.children(recursive=True)
            if who == "all":
                os.killpg(self.process.pid, signal.SIGKILL)
            for one in {"driver": [driver], "dvc": below[:1], "stage": below[1:]}.get(who, []):
                one.kill()
        start = time.monotonic()
        self.process.communicate()
        _, alive = psutil.wait_procs(below, timeout=20)
        if alive:
            raise SystemExit(f"FAILED: {len(alive)} processes outlive a kill of {who} by 20 s: {alive}")
        return time.monotonic() - start


def unbroken(folder: Path, targets: list[str]) -> dict[str, float]:
    """Run it to its end; the seconds that each stage took."""
    run, begun = Run(folder, targets), {}
    for stage in run.stages():
        begun[stage] = time.monotonic()
    if run.process.wait():
        raise SystemExit(f"FAILED: the unbroken run ended with {run.process.returncode}:\n{''.join(run.said[-20:])}")
    ends = [*begun.values(), time.monotonic()][1:]
    return {stage: end - start for (stage, start), end in zip(begun.items(), ends, strict=True)}


class Kill(NamedTuple):
    stage: str
    after: float
    who: str


def plan(took: dict[str, float], kills: int, seed: int) -> list[Kill]:
    """Which stages are killed when: of as many kinds as there are, at any moment of what they and their saving take."""
    dice = random.Random(seed)
    stages = dice.sample(list(took), len(took))
    seen = Counter[str]()
    turns = {}
    for stage in stages:  # the first of each kind, then the second of each, ...
        turns[stage] = seen[kind := stage.split("@")[0]]
        seen[kind] += 1
    chosen = sorted(stages, key=turns.__getitem__)[:kills]
    return [Kill(stage, dice.uniform(0, took[stage]), WHO[place % len(WHO)]) for place, stage in enumerate(chosen)]


def broken(folder: Path, kills: list[Kill], targets: list[str]) -> list[dict[str, object]]:
    """Run it until it ends, killed where the plan says; a row for each kill."""
    waiting, rows = {kill.stage: kill for kill in kills}, []
    while True:
        run, killed = Run(folder, targets), False
        for stage in run.stages():
            if stage in waiting:
                kill = waiting.pop(stage)
                time.sleep(kill.after)
                rows.append(kill._asdict() | {"gone after": run.kill(kill.who)})
                print(f"kill {len(rows)}: {stage} after {kill.after:.1f} s, {kill.who}", flush=True)
                killed = True
                break
        if killed:
            continue
        if run.process.wait() == 0:
            return rows + [{"stage": stage, "who": "did not run"} for stage in waiting]
        raise SystemExit(f"FAILED: the run after {len(rows)} kills:\n{''.join(run.said)[-3000:]}")


def left_over(folder: Path) -> list[str]:
    """Half-written files, and processes that still are in the folder."""
    found = [str(path.relative_to(folder)) for path in folder.rglob("*.partial")]
    there = psutil.process_iter(["cwd", "pid", "name"])
    return found + [f"process {one.pid} {one.name()}" for one in there if str(folder) in str(one.info["cwd"])]


def killed_and_compared(root: Path, kills: int, seed: int, targets: list[str]) -> bool:
    """Whether it went well."""
    folders = [new_project(root / name) for name in ("unbroken", "broken")]
    start = time.monotonic()
    took = unbroken(folders[0], targets)
    print(f"unbroken: {len(took)} stages in {time.monotonic() - start:.0f} s", flush=True)
    rows = broken(folders[1], plan(took, kills, seed), targets)
    print(tabulate(rows, headers="keys", floatfmt=".2f"))
    whole, again = map(digests, folders)
    differ = sorted({name for name in whole.keys() | again.keys() if whole.get(name) != again.get(name)})
    asked = [answers(folder) for folder in folders]
    left = left_over(folders[1])
    print(f"{len(whole)} files of predictions compared; different: {', '.join(differ) or 'none'}")
    print(f"answers in the store: {asked[0]} unbroken, {asked[1]} broken; left over: {', '.join(left) or 'nothing'}")
    return not differ and asked[0] == asked[1] and not left and bool(whole)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", help="stages to reproduce, with what they need; all of them otherwise")
    parser.add_argument("--kills", type=int, help="20 otherwise, or 4 if quick")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="fewer stages and kills")
    given = parser.parse_args()
    targets = given.targets or (QUICK_TARGETS if given.quick else [])
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as root:
        well = killed_and_compared(Path(root), given.kills or (4 if given.quick else 20), given.seed, targets)
    print(f"soak: {'as it should be' if well else 'FAILED'}; {time.monotonic() - start:.0f} s")
    sys.exit(not well)


if __name__ == "__main__":
    main()
