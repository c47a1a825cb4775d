"""What breaks while it runs: kill -9, two at once, a full disk, little memory, an endpoint that is down.

`make soak` does the same to the whole pipeline.
"""

import errno
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd
import psutil
import pytest
from conftest import ROOT, Command, as_module, clean_environment, one_line_error, repository, said, set_param
from fake_endpoint import KEY

from pipeline.contracts import written_whole
from pipeline.contracts.errors import BY_NUMBER, exhausted


def environment(folder: Path, **more: str) -> dict[str, str]:
    return clean_environment(folder / "store", HOME=str(folder), PYTHONPATH=str(ROOT)) | more


@contextmanager
def started(
    folder: Path, *arguments: str, limit: tuple[int, int] | None = None, **more: str
) -> Iterator[subprocess.Popen[str]]:
    """A Python module as a process group of its own, that is gone at the end; `limit` is of `setrlimit`, and a number."""

    def limited() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell has its jobs in the background ignore it
        if limit:
            resource.setrlimit(limit[0], (limit[1], limit[1]))

    process = subprocess.Popen(
        [sys.executable, *as_module(*arguments)],
        cwd=folder,
        env=environment(folder.parent, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=limited,  # noqa: PLW1509
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def ended(folder: Path, what: str, limit: tuple[int, int], **more: str) -> str:
    """The one line that a module ends with under a limit."""
    with started(folder, *what.split(), limit=limit, **more) as process:
        out, error = process.communicate()
    return one_line_error(subprocess.CompletedProcess(process.args, process.returncode, out, error))


def eventually(true: Callable[[], object], seconds: float = 60) -> None:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)


HALF = """
import os
from pathlib import Path
from pipeline.contracts import written_whole

with written_whole(Path("a.txt")) as partial:
    partial.write_text("half")
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_process_had_begun_is_cleared_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("before")
    killed = subprocess.run([sys.executable, "-c", HALF], cwd=tmp_path, env=environment(tmp_path), check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob(".a.txt.*.partial"))) == 1
    assert (tmp_path / "a.txt").read_text() == "before"
    with written_whole(tmp_path / "a.txt") as partial:
        partial.write_text("after")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_what_a_living_process_has_begun_is_left_to_it(tmp_path: Path) -> None:
    with written_whole(tmp_path / "a.txt") as mine:
        mine.write_text("slow")
        theirs = mine.rename(mine.with_name(mine.name.replace(str(os.getpid()), str(os.getppid()))))
        with written_whole(tmp_path / "a.txt") as partial:
            partial.write_text("quick")
        theirs.rename(mine)
    assert (tmp_path / "a.txt").read_text() == "slow"


# --- DVC is killed, or is there twice ---------------------------------------------------------------------------------

STAGE = """
import os, sys, time
from pathlib import Path
Path("loading").write_text(str(os.getpid()))
time.sleep(float(os.environ.get("LOADING", "0")))
from pipeline.contracts import write_text
from pipeline.process import run

def main():
    Path("begun").write_text(str(os.getpid()))
    time.sleep(float(os.environ.get("SECONDS", "0")))
    write_text(Path("made.txt"), Path("given.txt").read_text().upper())

run(main)
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A DVC repository of one stage, which takes as long as the environment says."""
    stages = "stages:\n  one:\n    cmd: python -m stage\n    deps: [given.txt]\n    outs: [made.txt]\n"
    files = {"stage.py": STAGE, "given.txt": "tweets", "params.yaml": "data: { source: given.txt }", "dvc.yaml": stages}
    return repository(tmp_path / "small", files)


def begun(folder: Path, mark: str = "begun") -> None:
    """Wait until a process has written its number into a file."""
    eventually(lambda: (folder / mark).exists() and (folder / mark).read_text())


def gone(folder: Path, mark: str = "begun") -> bool:
    """Whether the process that wrote its number into a file is no more."""
    pid = int((folder / mark).read_text())
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cmd", "mark", "loading"),
    [("python -m stage", "loading", "2"), ("python -m stage && true", "begun", "0")],
    ids=["still loading", "with a shell between"],
)
def test_a_stage_ends_with_the_dvc_that_started_it_and_the_next_repro_goes_on(
    small: Path, cmd: str, mark: str, loading: str
) -> None:
    text = (small / "dvc.yaml").read_text()
    (small / "dvc.yaml").write_text(text.replace("python -m stage", cmd))
    with started(small, "dvc", "repro", LOADING=loading, SECONDS="60") as dvc:
        begun(small, mark)
        assert not gone(small, mark)
        dvc.kill()
        dvc.wait()
        eventually(lambda: gone(small, mark), 10)
        assert not (small / "made.txt").exists()
        with started(small, "dvc", "repro") as again:
            out, error = again.communicate()
    assert again.returncode == 0, out + error
    assert (small / "made.txt").read_text() == "TWEETS"


@pytest.mark.slow
def test_of_two_repros_at_once_one_goes_on_and_the_other_says_who_is_in_its_way(small: Path) -> None:
    with started(small, "dvc", "--wait-for-lock", "repro", SECONDS="8") as first:
        begun(small)
        with started(small, "dvc", "--wait-for-lock", "repro") as second:
            _, refused = second.communicate()
        assert second.returncode != 0
        assert f"it is being blocked by:\n  (PID {first.pid})" in refused
        _, error = first.communicate()
    assert first.returncode == 0, error
    assert (small / "made.txt").read_text() == "TWEETS"


def test_of_two_processes_of_one_stage_the_second_waits_until_the_first_has_ended(small: Path) -> None:
    with started(small, "stage", SECONDS="60") as first:
        begun(small)
        with started(small, "stage", SECONDS="0") as second:
            assert "waiting: another process is at stage" in second.stderr.readline()
            assert second.poll() is None
            assert not (small / "made.txt").exists()
            first.kill()
            _, error = second.communicate()
            assert second.returncode == 0, error
    assert (small / "made.txt").read_text() == "TWEETS"


@pytest.mark.slow
def test_dvc_and_its_stage_end_with_the_driver_that_is_killed_and_the_next_run_goes_on(small: Path) -> None:
    with started(small, "pipeline.repro", SECONDS="60") as driver:
        begun(small)
        (dvc,) = (child for child in psutil.Process(driver.pid).children() if "repro" in child.cmdline())
        driver.kill()
        driver.wait()
        psutil.wait_procs([dvc], timeout=20)
        assert not dvc.is_running()
        assert gone(small)
        with started(small, "pipeline.repro") as again:
            out, error = again.communicate()
    assert again.returncode == 0, error
    assert out.startswith("stage 1 of 1: one")
    assert (small / "made.txt").read_text() == "TWEETS"


@pytest.mark.slow
@pytest.mark.parametrize("told", ["all", "the driver alone"], ids=str.split)
def test_ctrl_c_ends_dvc_and_says_so_in_a_line(small: Path, told: str) -> None:
    with started(small, "pipeline.repro", SECONDS="60") as driver:
        begun(small)
        (os.killpg if told == "all" else os.kill)(driver.pid, signal.SIGINT)
        _, error = driver.communicate()
    assert driver.returncode == 130
    assert error.splitlines()[-1] == "interrupted; the next run goes on from there"
    assert "Traceback" not in error
    assert gone(small)
    assert not (small / "made.txt").exists()


# --- what the machine runs out of -------------------------------------------------------------------------------------


def chained() -> ValueError:
    error = ValueError("cannot be written")
    error.__cause__ = OSError(errno.ENOSPC, "full")
    return error


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (MemoryError(), errno.ENOMEM),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you ..."), errno.ENOMEM),
        (RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"), errno.ENOSPC),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 128 vs 0"), errno.ENOSPC),
        (RuntimeError("I/O error: No space left on device (os error 28)"), errno.ENOSPC),
        (chained(), errno.ENOSPC),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), errno.EMFILE),
        (ValueError("a mistake of ours"), None),
        (FileNotFoundError(errno.ENOENT, "no such file", "x"), None),
    ],
    ids=str,
)  # fmt: skip
def test_what_libraries_say_in_words_of_their_own_is_understood(error: Exception, number: int | None) -> None:
    assert exhausted(error) == BY_NUMBER.get(number)


def test_a_file_that_cannot_be_written_whole_is_not_written(project: Path) -> None:
    """A limit on the size of files stands for a full disk: it needs no rights."""
    line = ended(project, "pipeline.data.prepare", (resource.RLIMIT_FSIZE, 4000))
    assert "larger than is allowed" in line
    assert not [path for path in (project / "data/prepared").rglob("*") if path.is_file()]


GREEDY = """
import resource, numpy
from pipeline.process import run

def main():
    resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
    numpy.ones(2**30)

run(main)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no limit on memory there")
@pytest.mark.parametrize(
    ("what", "limit"), [("greedy", resource.RLIM_INFINITY), ("pipeline.finetune.lora minilm", 10**9)]
)
def test_too_little_memory_is_one_line(project: Path, what: str, limit: int) -> None:
    """In the second not even the libraries fit."""
    (project / "greedy.py").write_text(GREEDY)
    assert ended(project, what, (resource.RLIMIT_AS, limit)) == f"error: {BY_NUMBER[errno.ENOMEM]}"


def test_when_the_endpoint_is_down_the_others_are_compared_and_it_is_named(project: Path, here: Command) -> None:
    """That `dvc repro --keep-going` goes on with the others, see test_repro."""
    changes = {"prompt.base_url": "http://127.0.0.1:9/v1", "prompt.retries": 0, "evaluate.draws": 200}
    for name, value in (changes | {"counts.ngrams": [1], "counts.min_count": [1]}).items():
        set_param(project, name, value)
    said(here("pipeline.data.prepare"))
    line = one_line_error(here("pipeline.prompting.prompt", "zero_shot", OPENAI_API_KEY=KEY))
    assert "cannot be reached; is it running?" in line
    said(here("pipeline.counts.naive_bayes"))
    printed = said(here("pipeline.compare.evaluate"))
    assert {*pd.read_csv(project / "evaluate/scores.csv")["classifier"]} == {"naive_bayes"}
    (missing,) = [line for line in printed.splitlines() if line.startswith("not compared")]
    assert "prompt_zero_shot" in missing
    assert "naive_bayes," not in missing.replace("transductive_naive_bayes", "")
    assert missing in (project / "evaluate/table.md").read_text()
