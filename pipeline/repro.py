"""Run the main job, or the study, and show how far it is in a line a stage; then the ranking, and what to look at.

What is in the way of DVC (no git, a file of its own that a kill left half written) is put right first; what the user must put
right is one line.

in:  dvc.yaml, params.yaml
out: what the stages write; .dvc/tmp/stages/seconds.json: how long each took, to say how long the next run will
run: make repro   (or python -m pipeline.repro, with the arguments of dvc repro, such as --keep-going or evaluate)
     make study   (or python -m pipeline.repro study)
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial, reduce
from operator import getitem
from pathlib import Path
from typing import Any

from pipeline.contracts import InputError, plain_name, read_json, read_params, read_yaml, write_text
from pipeline.contracts.params import PARAMS
from pipeline.data.csv_file import not_there
from pipeline.data.source import DataParams
from pipeline.environment import output
from pipeline.places import STUDY
from pipeline.process import DRIVER, LOCKS, run
from pipeline.summary import results_in_words

SECONDS = LOCKS / "seconds.json"
OF_THE_STUDY = (STUDY / "dvc.yaml").as_posix()
GUESSES = {
    "prepare": 3, "embed": 12, "counts": 7, "vectors": 9, "lora": 33, "prompt": 20, "evaluate": 6, "calibration": 5,
    "errors": 15, "explanations": 15, "blend": 5, "submission": 4, "report": 5, "learning_curve": 20, "generation": 42,
}  # fmt: skip
"""Seconds that a stage of each kind takes on the sample, on two cores: until one has been seen to take others."""
OTHERWISE = 10

# --- what DVC says ----------------------------------------------------------------------------------------------------

BEGUN = re.compile(r"Running stage '(.+)':")
UNCHANGED = re.compile(r"Stage '(.+)' (?:didn't change, skipping|is cached - skipping run, checking out outputs)")
FINISHED = re.compile(r"Updating lock file '.+'")
HINTS = re.compile(
    r"|Generating lock file '.+'|To track the changes with git, run:|\tgit add .+|To enable auto staging, run:"
    r"|\tdvc config core\.autostage true|Use `dvc push` to send .+|Data and pipelines are up to date\."
)
UNREADABLE = re.compile(r"'(?:\./)?((?:[\w-]+/)*dvc\.lock)'.{0,40}?(?:validation failed|invalid|not valid|corrupted)")


def expected(stage: str, remembered: Mapping[str, float]) -> float:
    """Seconds that a stage will take: as many as the last time, or as others of its kind."""
    kind = stage.rpartition(":")[2].partition("@")[0]
    return remembered.get(stage, GUESSES.get(kind, OTHERWISE))


def seconds_left(todo: Iterable[str], took: Mapping[str, float], remembered: Mapping[str, float]) -> float:
    """Seconds until the stages `todo` are done, if they keep to what is expected of them as those before did."""
    steadying = 10  # a first stage that waits for the disk says little about the others
    pace = (steadying + sum(took.values())) / (steadying + sum(expected(stage, remembered) for stage in took))
    return pace * sum(expected(stage, remembered) for stage in todo)


def spoken(seconds: float) -> str:
    """`3 s`, `40 s`, `90 s`, `3 min`: no more exact than one needs to know."""
    if seconds >= 120:
        return f"{seconds / 60:.0f} min"
    return f"{max(1, seconds):.0f} s" if seconds < 10 else f"{5 * round(seconds / 5)} s"


class Progress:
    """Follows what DVC says: which stages have run, and how long they took."""

    def __init__(
        self, plan: Callable[[], set[str]], remembered: Mapping[str, float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`plan` gives the stages that DVC will look at, and is asked when one runs; `remembered`, what they took before."""
        self.plan, self.remembered, self.clock = plan, remembered, clock
        self.took: dict[str, float] = {}
        self.unchanged: set[str] = set()
        self.unfinished: list[str] = []  # begun, and not (yet) written into dvc.lock
        self.running = ""
        self.last = ""  # the stage before and its seconds, until they are shown
        self.start = self.since = clock()

    def shown(self, said: Iterable[str]) -> Iterator[str]:
        """Of DVC's lines those to show: one for each stage that begins, and what stages print; none of its hints."""
        before = ""
        for line in (line.rstrip("\n") for line in said):
            if found := BEGUN.fullmatch(line):
                self.end()
                yield self.begin(found[1])
            elif found := UNCHANGED.fullmatch(line):
                self.end()
                self.unchanged.add(found[1])
            elif FINISHED.fullmatch(line):
                del self.unfinished[-1:]
            elif not (HINTS.fullmatch(line) or (line.startswith("> ") and BEGUN.fullmatch(before))):
                yield line
            before = line
        self.end()

    def begin(self, stage: str) -> str:
        """The line of a stage that begins."""
        last, self.last = self.last, ""
        self.running, self.since = stage, self.clock()
        self.unfinished.append(stage)
        number, names = f"stage {len(self.took) + len(self.unchanged) + 1}", self.plan()
        if stage not in names:
            return f"{number}: {stage}{last}"
        left = seconds_left(names - self.unchanged - self.took.keys(), self.took, self.remembered)
        return f"{number} of {len(names)}: {stage}, about {spoken(left)} left{last}"

    def end(self) -> None:
        if self.running:
            self.took[self.running] = self.clock() - self.since
            self.last = f" ({self.running.rpartition(':')[2]}: {self.took[self.running]:.0f} s)"
            self.running = ""

    def seconds(self) -> dict[str, float]:
        """What to remember: not what failed, nor what a dry run did not do."""
        done = {stage: round(seconds, 1) for stage, seconds in self.took.items() if stage not in self.unfinished}
        return {**self.remembered, **{stage: seconds for stage, seconds in done.items() if seconds >= 0.5}}

    def __str__(self) -> str:
        """One line on what was done."""
        stages, seconds = len(self.took) + len(self.unchanged), self.clock() - self.start
        if not self.took:
            return f"nothing to do: {stages} stages are up to date"
        return f"{len(self.took)} of {stages} stages ran in {seconds:.0f} s{self.last}"


# --- DVC itself -------------------------------------------------------------------------------------------------------


def environment() -> dict[str, str]:
    """For DVC and its stages: this Python's folder first, who is to be outlived by none of them, bars only for a terminal."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    ours = {"PATH": path, "DVC_NO_ANALYTICS": "1", "PYTHONUNBUFFERED": "1", DRIVER: str(os.getpid())}
    return os.environ | ours | ({} if sys.stderr.isatty() else {"TQDM_DISABLE": "1"})


def dvc(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)


def stages(arguments: list[str]) -> set[str]:
    """The stages that `dvc repro` with these arguments looks at; none if an option chooses among them."""
    options = {argument for argument in arguments if argument.startswith("-")}
    if options - {"-k", "--keep-going", "-f", "--force", "--no-run-cache"}:
        return set()
    targets = [argument for argument in arguments if argument not in options] or ["dvc.yaml"]
    graphs = [dvc("dag", "--dot", target).stdout for target in targets]
    return {stage for graph in graphs for stage in re.findall(r'^"([^"]+)";$', graph, re.MULTILINE)}


def reproduce(arguments: list[str], progress: Progress) -> int:
    """Run `dvc repro`, and show its progress; how it ended. Whatever ends this function ends DVC."""
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", *arguments]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, encoding="utf-8", errors="replace")
    try:
        for line in progress.shown(process.stdout or ()):
            print(line, flush=True)
        return process.wait()
    finally:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    """Wait for DVC to end: after Ctrl-C it and its stage do so by themselves, since the terminal tells them too."""
    for _ in range(2):
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=5)
            return
        process.terminate()  # and its stage follows, see pipeline/process.py


# --- what is in DVC's way ---------------------------------------------------------------------------------------------


def work_without_git() -> str | None:
    """Let DVC work where there is no git, as in a project that came as a zip; a line on it."""
    here = Path.cwd()
    if any((folder / ".git").exists() for folder in (here, *here.parents)):
        return None
    if dvc("config", "core.no_scm").stdout.strip() == "true":
        return None
    if (done := dvc("config", "--local", "core.no_scm", "true")).returncode:
        raise InputError(f"no git repository here, and DVC needs one: `git init` makes it ({done.stderr.strip()})")
    return "no git here: DVC works without (core.no_scm); after `git init` run `dvc config --local --unset core.no_scm`"


def mend_rwlock(path: Path = Path(".dvc/tmp/rwlock")) -> str | None:
    """Remove DVC's note of who runs what if a kill left a part of it; a line on it."""
    for _ in range(3):  # a DVC that runs may be writing it
        with suppress(ValueError):
            if not path.is_file() or json.loads(path.read_bytes()) is not None:
                return None
        time.sleep(0.2)
    path.unlink(missing_ok=True)
    return f"{path} was half written: removed"


def mend_locks(complaint: str) -> list[str]:
    """Bring back the committed dvc.lock instead of one that DVC says it cannot read, or none; a line for each."""
    done = []
    for path in map(Path, dict.fromkeys(UNREADABLE.findall(complaint))):
        torn = Path(".dvc/tmp") / "-".join([*path.parts, "torn"])
        torn.write_bytes(path.read_bytes())
        committed = output("git", "show", f"HEAD:./{path}")
        if committed is not None and f"{committed}\n".encode() != path.read_bytes():
            path.write_text(f"{committed}\n", encoding="utf-8")
            done.append(f"{path} could not be read: the committed one is back, the other is {torn}")
        else:
            path.unlink()
            done.append(f"{path} could not be read: it is now {torn}, and DVC writes it anew")
    return done


def check_names() -> None:
    """Raise `InputError` if a list that dvc.yaml makes commands of holds more than names, for DVC's shell would run it."""
    for folder in (folder for folder in (Path(), STUDY) if (folder / PARAMS).is_file()):
        values: Any = read_yaml(folder / PARAMS)
        pipeline = (folder / "dvc.yaml").read_text(encoding="utf-8")
        for name in re.findall(r"(?m)^ +\w+: \$\{([\w.]+)\} *(?:#.*)?$", pipeline):
            with suppress(KeyError, TypeError):  # DVC says so
                for each in reduce(getitem, name.split("."), values):
                    plain_name(str(each))


# --- together ---------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", help="study, or stages; all of the main job otherwise")
    given, options = parser.parse_known_args()
    if not Path(".dvc").is_dir():
        raise InputError("no DVC project here; run it in the project's folder")
    targets = [OF_THE_STUDY if target == STUDY.name else target for target in given.targets]
    arguments = [*options, *targets]
    for line in filter(None, (work_without_git(), mend_rwlock())):
        print(line, flush=True)
    check_names()
    source = read_params("data", DataParams).source
    if not Path(source).exists():  # DVC would call it an errno
        raise InputError(f"params.yaml: data.source: {not_there(source)}")
    progress = Progress(
        ThreadPoolExecutor().submit(stages, arguments).result, read_json(SECONDS) if SECONDS.is_file() else {}
    )
    try:
        code = reproduce(arguments, progress)
        while code and not progress.took and (mended := mend_locks(dvc("dag", "--dot").stderr)):
            print(*mended, sep="\n", flush=True)
            progress.plan = partial(stages, arguments)
            code = reproduce(arguments, progress)
    except KeyboardInterrupt:
        print("interrupted; the next run goes on from there", file=sys.stderr)
        raise
    finally:
        with suppress(InputError):  # a full disk has been told of
            write_text(SECONDS, json.dumps(progress.seconds(), indent=2) + "\n")
    if code:
        which = f"stage {', '.join(progress.unfinished)} failed" if progress.unfinished else "dvc stopped"
        print(f"error: {which}, see above; the next run goes on from there", file=sys.stderr)
        sys.exit(code if code > 0 else 128 - code)
    print(progress)
    if not targets or targets == [OF_THE_STUDY]:
        print(*results_in_words(STUDY if targets else Path(), source), sep="\n")


if __name__ == "__main__":
    run(main)
