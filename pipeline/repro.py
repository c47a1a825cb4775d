"""Run the main job, or the study, and show how far it is in a line a stage; then the ranking, and what to look at.

What is in the way of DVC (no git, a file of its own that a kill left half written) is put right first; what the user must put
right is one line.

in:  dvc.yaml, params.yaml
out: what the stages write
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
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pydantic import BaseModel

from pipeline.contracts import InputError, read_params
from pipeline.data.csv_file import not_there
from pipeline.places import STUDY
from pipeline.process import DRIVER, run
from pipeline.summary import results_in_words

OF_THE_STUDY = (STUDY / "dvc.yaml").as_posix()

# --- what DVC says ----------------------------------------------------------------------------------------------------

BEGUN = re.compile(r"Running stage '(.+)':")
UNCHANGED = re.compile(r"Stage '(.+)' (?:didn't change, skipping|is cached - skipping run, checking out outputs)")
FINISHED = re.compile(r"Updating lock file '.+'")
HINTS = re.compile(
    r"|Generating lock file '.+'|To track the changes with git, run:|\tgit add .+|To enable auto staging, run:"
    r"|\tdvc config core\.autostage true|Use `dvc push` to send .+|Data and pipelines are up to date\."
)
UNREADABLE = re.compile(r"'(?:\./)?((?:[\w-]+/)*dvc\.lock)'.{0,40}?(?:validation failed|invalid|not valid|corrupted)")


@dataclass
class Progress:
    """Follows what DVC says: which stages have run, and how long they took."""

    plan: Callable[[], set[str]]
    """The stages that DVC will look at; asked for when one runs."""
    clock: Callable[[], float] = time.monotonic
    ran: list[str] = field(default_factory=list)
    unchanged: set[str] = field(default_factory=set)
    unfinished: list[str] = field(default_factory=list)
    """Begun, and not (yet) written into dvc.lock."""
    running: str = ""
    last: str = ""
    """The stage before and its seconds, until they are shown."""

    def __post_init__(self) -> None:
        self.start = self.since = self.clock()

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
        self.ran.append(stage)
        self.unfinished.append(stage)
        names = self.plan()
        total = f" of {len(names)}" if stage in names else ""
        return f"stage {len(self.ran) + len(self.unchanged)}{total}: {stage}{last}"

    def end(self) -> None:
        if self.running:
            self.last = f" ({self.running.rpartition(':')[2]}: {self.clock() - self.since:.0f} s)"
            self.running = ""

    def __str__(self) -> str:
        """One line on what was done."""
        stages = len(self.ran) + len(self.unchanged)
        if not self.ran:
            return f"nothing to do: {stages} stages are up to date"
        return f"{len(self.ran)} of {stages} stages ran in {self.clock() - self.start:.0f} s{self.last}"


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


def end(process: subprocess.Popen[str], grace: float = 5) -> None:
    """Wait for DVC to end: after Ctrl-C it and its stage do so by themselves, since the terminal tells them too."""
    for _ in range(2):
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=grace)
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


def distrust() -> str | None:
    """A line if git refuses to read the repository, since another user owns it: DVC runs, and cannot compare or keep runs."""
    if "dubious ownership" not in git("rev-parse", "--git-dir").stderr.decode(errors="replace"):
        return None
    return f"git does not trust this folder, which is another user's: `git config --global --add safe.directory {Path.cwd()}`"


def git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["git", *arguments], env=os.environ | {"LC_ALL": "C"}, capture_output=True, check=False)  # noqa: S607
    except OSError as error:  # no git
        return subprocess.CompletedProcess(arguments, 1, b"", str(error).encode())


def mend_rwlock(path: Path = Path(".dvc/tmp/rwlock")) -> str | None:
    """Remove DVC's note of who runs what if a kill left a part of it; a line on it."""
    for _ in range(3):  # a DVC that runs may be writing it
        try:
            json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            time.sleep(0.2)
        else:
            return None
    path.unlink()
    return f"{path} was half written: removed"


def mend_locks(complaint: str) -> list[str]:
    """Bring back the committed dvc.lock instead of one that DVC says it cannot read, or none; a line for each."""
    done = []
    for path in map(Path, dict.fromkeys(UNREADABLE.findall(complaint))):
        torn = Path(".dvc/tmp") / "-".join([*path.parts, "torn"])
        spoilt = path.read_bytes()
        path.replace(torn)
        committed = git("show", f"HEAD:./{path}")
        if not committed.returncode and committed.stdout != spoilt:
            path.write_bytes(committed.stdout)
            done.append(f"{path} could not be read: the committed one is back, the other is {torn}")
        else:
            done.append(f"{path} could not be read: it is now {torn}, and DVC writes it anew")
    return done


class Data(BaseModel):
    """The part of the section data that says where the tweets are."""

    source: str


def check_source() -> None:
    """`InputError` if data.source is not there, which DVC would call an errno."""
    source = read_params("data", Data).source
    if not Path(source).exists():
        raise InputError(f"params.yaml: data.source: {not_there(source)}")


# --- together ---------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", help="study, or stages; all of the main job otherwise")
    given, options = parser.parse_known_args()
    if not Path(".dvc").is_dir():
        raise InputError("no DVC project here; run it in the project's folder")
    targets = [OF_THE_STUDY if target == STUDY.name else target for target in given.targets]
    arguments = [*options, *targets]
    for line in filter(None, (work_without_git(), distrust(), mend_rwlock())):
        print(line, flush=True)
    check_source()
    asked = ThreadPoolExecutor().submit(stages, arguments)
    progress = Progress(asked.result)
    try:
        code = reproduce(arguments, progress)
        while code and not progress.ran and (mended := mend_locks(dvc("dag", "--dot").stderr)):
            print(*mended, sep="\n", flush=True)
            progress.plan = partial(stages, arguments)
            code = reproduce(arguments, progress)
    except KeyboardInterrupt:
        print("interrupted; the next run goes on from there", file=sys.stderr)
        raise
    if code:
        which = f"stage {', '.join(progress.unfinished)} failed" if progress.unfinished else "dvc stopped"
        print(f"error: {which}, see above; the next run goes on from there", file=sys.stderr)
        sys.exit(code if code > 0 else 128 - code)
    print(progress)
    if not targets or targets == [OF_THE_STUDY]:
        print(*results_in_words(STUDY if targets else Path()), sep="\n")


if __name__ == "__main__":
    run(main)
