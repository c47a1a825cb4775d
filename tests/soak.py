"""Kill `dvc repro` with -9 many times, and look whether the results are those of an unbroken run.

An unbroken run of the whole pipeline on 110 tweets; then a second one that is killed at random moments of stages of every kind,
and run again until it ends. Ends with 1 if anything differs or is left over. Of full disks and little memory see test_faults.

run: make soak   (or PYTHONPATH=. python tests/soak.py --kills 20 --seed 0; --quick for a few minutes)
"""

import argparse
import hashlib
import os
import queue
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

import psutil
from conftest import QUICK, clean_environment, copy_project, git, set_param
from tabulate import tabulate

QUICK_TARGETS = [
    "counts@logistic",
    "vectors@gaussian-minilm",
    "prompt@few_shot",
    "study/dvc.yaml:learning_curve@naive_bayes",
]
"""What a quick soak reproduces, and what that needs."""

WHO = ("dvc", "all", "stage")
"""Whom a kill hits: DVC alone, all processes of the run, or the stage alone."""


def environment(folder: Path) -> dict[str, str]:
    """With a store of answers and checkpoints, and a cache, of its own."""
    return clean_environment(folder.parent / f"{folder.name}-store", PYTHONUNBUFFERED="1")


def new_project(folder: Path) -> Path:
    """A git repository with a copy of the project."""
    copy_project(folder)
    for name, value in (QUICK | {"lora.minilm.epochs": 8}).items():  # long enough to be killed in the midst of it
        set_param(folder, name, value)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "start")
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
    with closing(sqlite3.connect(path)) as store:
        return int(store.execute("SELECT count(*) FROM answers").fetchone()[0])


# --- runs -------------------------------------------------------------------------------------------------------------


class Run:
    """A `dvc repro` as a process group of its own, and the stages that it begins, as it begins them."""

    def __init__(self, folder: Path, *targets: str) -> None:
        self.said: list[str] = []
        self.begun: queue.Queue[str | None] = queue.Queue()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro", *targets],
            cwd=folder,
            env=environment(folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.said.append(line)
            if line.startswith("Running stage '"):
                self.begun.put(line.split("'")[1])
        self.begun.put(None)

    def stages(self) -> Iterator[str]:
        """Each stage when it begins, until the run ends."""
        while (stage := self.begun.get()) is not None:
            yield stage

    def below(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

    def kill(self, who: str) -> float:
        """Kill -9; the seconds until the last process is gone."""
        below = self.below()
        if who == "stage" and not below:  # it is between two stages
            who = "dvc"
        if who == "all":
            os.killpg(self.process.pid, signal.SIGKILL)
        elif who == "dvc":
            self.process.kill()
        for one in below if who == "stage" else []:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        start = time.monotonic()
        self.process.wait()
        _, alive = psutil.wait_procs(below, timeout=20)
        if alive:
            raise SystemExit(f"FAILED: {len(alive)} processes outlive a kill of {who} by 20 s: {alive}")
        return time.monotonic() - start


def unbroken(folder: Path, targets: list[str]) -> dict[str, float]:
    """Run it to its end; the seconds that each stage took."""
    run, began, took = Run(folder, *targets), time.monotonic(), {}
    stage, since = "", began
    for following in run.stages():
        took[stage], stage, since = time.monotonic() - since, following, time.monotonic()
    took[stage] = time.monotonic() - since
    if run.process.wait():
        raise SystemExit(f"FAILED: the unbroken run ended with {run.process.returncode}:\n{''.join(run.said[-20:])}")
    return {name: seconds for name, seconds in took.items() if name}


class Kill(NamedTuple):
    stage: str
    after: float
    who: str


def plan(took: dict[str, float], kills: int, seed: int) -> list[Kill]:
    """Which stages are killed when: stages of as many kinds as there are, at any moment of what they and their saving take."""
    dice = random.Random(seed)
    kinds: dict[str, list[str]] = {}
    for stage in took:
        kinds.setdefault(stage.split("@")[0], []).append(stage)
    for members in kinds.values():
        dice.shuffle(members)
    order = list(kinds)
    dice.shuffle(order)
    chosen: list[str] = []
    while len(chosen) < min(kills, len(took)):
        chosen += [kinds[kind].pop() for kind in order if kinds[kind]]
    return [
        Kill(stage, dice.uniform(0, took[stage]), WHO[number % 3])
        for number, stage in enumerate(chosen[: min(kills, len(took))])
    ]


def broken(folder: Path, kills: list[Kill], targets: list[str]) -> tuple[list[dict[str, object]], int]:
    """Run it until it ends, killed where the plan says; a row for each kill, and how often DVC's files had to be mended."""
    waiting, rows, mended = {kill.stage: kill for kill in kills}, [], 0
    while True:
        run, killed = Run(folder, *targets), False
        for stage in run.stages():
            if stage not in waiting:
                continue
            kill = waiting.pop(stage)
            with suppress(subprocess.TimeoutExpired):
                run.process.wait(kill.after)
            ended = run.process.poll() is not None
            gone = 0.0 if ended else run.kill(kill.who)
            killed = True
            rows.append({"stage": stage, "after, s": kill.after, "who": kill.who, "gone after, s": gone})
            print(f"kill {len(rows)}: {stage} after {kill.after:.1f} s, {kill.who}", flush=True)
            break
        if killed:
            continue
        if run.process.wait() == 0:
            return rows + [{"stage": stage, "who": "did not run"} for stage in waiting], mended
        text = "".join(run.said)
        if mended > len(kills) or not re.search(
            "unable to read|validation failed|corrupted|RWLock", text, re.IGNORECASE
        ):
            raise SystemExit(f"FAILED: `dvc repro` after {len(rows)} kills:\n{text[-3000:]}")
        subprocess.run(
            [sys.executable, "-m", "pipeline.repro", "prepare"], cwd=folder, env=environment(folder), check=True
        )
        mended += 1


def left_over(folder: Path) -> list[str]:
    """Half-written files, and processes that still are in the folder or listen."""
    found = [str(path.relative_to(folder)) for path in folder.rglob("*.partial")]
    for process in psutil.process_iter(["cwd", "pid", "name"]):
        if str(folder) in str(process.info["cwd"]):
            with suppress(psutil.Error):
                ports = [str(one.laddr.port) for one in process.net_connections() if one.status == psutil.CONN_LISTEN]
                found.append(f"process {process.info['pid']} {process.info['name']} listening on {ports}")
    return found


def killed_and_compared(root: Path, kills: int, seed: int, targets: list[str]) -> bool:
    """Whether it went well."""
    folders = [new_project(root / name) for name in ("unbroken", "broken")]
    start = time.monotonic()
    took = unbroken(folders[0], targets)
    print(f"unbroken: {len(took)} stages in {time.monotonic() - start:.0f} s", flush=True)
    rows, mended = broken(folders[1], plan(took, kills, seed), targets)
    print(tabulate(rows, headers="keys", floatfmt=".2f"))
    whole, again = map(digests, folders)
    differ = sorted({name for name in whole.keys() | again.keys() if whole.get(name) != again.get(name)})
    asked = [answers(folder) for folder in folders]
    left = left_over(folders[1])
    print(f"{len(whole)} files of predictions compared; different: {', '.join(differ) or 'none'}")
    print(f"answers in the store: {asked[0]} unbroken, {asked[1]} broken; left over: {', '.join(left) or 'nothing'}")
    print(f"dvc's own files were half written, and mended, {mended} times")
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
