"""What one sees of a run, and the first mistakes: DVC itself runs, in small projects."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, Command, clean_environment, commit, git, one_line_error, python, repository, said

from pipeline.data.csv_file import SAMPLE
from pipeline.repro import UNREADABLE, Progress, mend_locks, mend_rwlock, seconds_left, spoken
from pipeline.summary import summary, verdict

# --- the lines of a run -----------------------------------------------------------------------------------------------

SAID = """\
Stage 'prepare' didn't change, skipping
Stage 'embed@minilm' is cached - skipping run, checking out outputs
Updating lock file 'dvc.lock'

Running stage 'lora@minilm':
> PATH="$PATH:.venv/bin" python -m pipeline.stage finetune.lora minilm
lora: 5 folds
> a line of the stage's own
Generating lock file 'dvc.lock'
Updating lock file 'dvc.lock'

Running stage 'evaluate':
> PATH="$PATH:.venv/bin" python -m pipeline.stage compare.evaluate
Updating lock file 'dvc.lock'

Running stage 'study/dvc.yaml:nested':
> python -m pipeline.stage --study curves.nested

To track the changes with git, run:

\tgit add dvc.lock

To enable auto staging, run:

\tdvc config core.autostage true
Use `dvc push` to send your updates to remote storage.
Data and pipelines are up to date.
"""
NAMES = {"prepare", "embed@minilm", "lora@minilm", "evaluate", "study/dvc.yaml:nested"}


def followed(**remembered: float) -> tuple[Progress, list[str]]:
    """What is made of it, if each look at the clock is half a minute after the one before."""
    ticks = iter(range(0, 1000, 30))
    progress = Progress(lambda: NAMES, remembered, lambda: next(ticks))
    return progress, list(progress.shown(SAID.splitlines(keepends=True)))


def test_a_run_is_a_line_a_stage_and_what_the_stages_print() -> None:
    progress, lines = followed()
    assert lines == [
        "stage 3 of 5: lora@minilm, about 50 s left",  # 33 + 6 + 10
        "lora: 5 folds",
        "> a line of the stage's own",
        "stage 4 of 5: evaluate, about 15 s left (lora@minilm: 30 s)",
        "stage 5 of 5: study/dvc.yaml:nested, about 15 s left (evaluate: 30 s)",
    ]
    assert str(progress) == "3 of 5 stages ran in 210 s (nested: 30 s)"


def test_what_failed_is_not_remembered_nor_what_a_dry_run_did_not_do() -> None:
    progress, _ = followed(prepare=4.0)
    assert progress.unfinished == ["study/dvc.yaml:nested"]
    assert progress.seconds() == {"prepare": 4.0, "lora@minilm": 30.0, "evaluate": 30.0}
    progress = Progress(lambda: {"a"}, {"a": 9.0}, lambda: 1.0)
    list(progress.shown(["Running stage 'a':\n", "> true\n"]))
    assert progress.seconds() == {"a": 9.0}


def test_the_time_left_follows_what_is_remembered_and_how_slow_the_machine_is_now() -> None:
    assert seconds_left(["evaluate"], {}, {}) == 6
    assert seconds_left(["evaluate"], {}, {"evaluate": 20.0}) == 20
    assert seconds_left(["study/dvc.yaml:vectors@vae-minilm"], {}, {}) == 9
    assert seconds_left(["something"], {}, {}) == 10
    assert 6 * 7 < seconds_left(["evaluate"], {"lora@minilm": 330.0}, {}) < 6 * 10
    words = {0: "1 s", 3.4: "3 s", 42: "40 s", 88: "90 s", 119: "120 s", 150: "2 min"}
    assert {seconds: spoken(seconds) for seconds in words} == words


# --- what came of it --------------------------------------------------------------------------------------------------


def scored(name: str, rows: int, accuracy: float, school: str = "discriminative") -> dict[str, str]:
    ends = {"accuracy": accuracy, "accuracy_low": accuracy - 0.02, "accuracy_high": accuracy + 0.02}
    return {"classifier": name, "school": school, "rows": str(rows)} | {key: str(value) for key, value in ends.items()}


LONG = [scored(f"class_lm_discriminative_of_{'many' * 9}_{place}", 7613, 0.85 - place / 100) for place in range(14)]
CHOSEN = {"classifier": "class_lm_discriminative_of_manymanymanymany", "accuracy": 0.8512}
WORDS = ["It gains 4.3 points."]
PAGES = ["study/report/index.html", "study/evaluate/table.md"]


@pytest.mark.parametrize("source", [SAMPLE, f"./{SAMPLE}/", "data/kaggle"])
def test_the_end_is_twelve_lines_of_eighty_columns(source: str) -> None:
    lines = summary([scored("prompt_zero_shot", 60, 0.99, "prompted"), *LONG], [], CHOSEN, PAGES, source)
    assert len(lines) <= 11, "one more says what ran"
    assert max(map(len, lines)) <= 80
    assert ("make kaggle" in "\n".join(lines)) == (source != "data/kaggle")
    (own,) = [
        line
        for line in summary([], [], CHOSEN | {"nested_accuracy": 0.847}, [], source)
        if "85.1 % (84.7 nested)" in line
    ]
    assert len(own) <= 80
    assert "85.1 % out of fold" in next(line for line in lines if line.startswith("submission/submission.csv: "))


def test_a_classifier_with_few_rows_does_not_look_as_if_it_had_won() -> None:
    lines = summary([scored("prompt_zero_shot", 60, 0.99, "prompted"), *LONG], WORDS, None, [], "data/kaggle")
    assert lines[0].startswith("6 of 15 classifiers")
    assert lines[1].startswith("class_lm_discriminative")
    assert lines[1].endswith("7,613")
    assert lines[6].startswith("prompt_zero_shot ")
    assert lines[6].endswith("60 only")
    assert lines[7 : 7 + len(WORDS)] == WORDS
    assert verdict(f"## Title\n\n{' '.join(['word'] * 20)}\n\nTwo.\n\n| Table |\n\nThree.") == [
        *(" ".join(["word"] * times) for times in (16, 4)),
        "Two.",
    ]


# --- DVC runs ---------------------------------------------------------------------------------------------------------

STAGE = """
import sys
import termios
import time
from pathlib import Path
from tqdm import tqdm
from pipeline.contracts import InputError
from pipeline.process import run

def main():
    for _ in tqdm(range(3), desc="steps"):
        pass
    if Path("broken").exists():
        raise InputError(f"{sys.argv[1]}: no luck")
    print("said by", sys.argv[1])
    time.sleep(0.5)  # times from there on are remembered
    Path(sys.argv[1]).write_text("made")

run(main)
"""
STAGES = """
stages:
  prepare:
    cmd: echo '' > prepared
    deps: ["${data.source}"]
    outs: [prepared]
  each:
    foreach: ${names}
    do:
      cmd: python -m stage ${item}
      deps: [prepared]
      outs: ["${item}"]
"""
OF_THE_STUDY = """
stages:
  more:
    wdir: ..
    cmd: python -m stage study/more
    deps: [prepared, a]
    outs: [study/more]
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A git repository with a main job of three stages, and a study of one more."""
    params = "data: { source: given }\nnames: [a, b]\n"
    stages = {"stage.py": STAGE, "dvc.yaml": STAGES, "study/dvc.yaml": OF_THE_STUDY}
    return repository(tmp_path / "small", stages | {"params.yaml": params, "given": "tweets"})


def ran(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    store = folder.parent / "store"
    own = clean_environment(store, HOME=str(folder.parent), PYTHONPATH=str(ROOT))
    return python("-m", *arguments, folder=folder, inherited=own, **more)


@pytest.mark.slow
def test_a_run_without_a_terminal_is_quiet_and_the_next_has_nothing_to_do(small: Path) -> None:
    done = ran(small, "pipeline.repro")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [re.sub(r"\d+ (s|min)\b", "N s", line) for line in done.stdout.splitlines()]
    assert lines == [
        "stage 1 of 3: prepare, about N s left",
        "stage 2 of 3: each@a, about N s left (prepare: N s)",
        "said by a",
        "stage 3 of 3: each@b, about N s left (each@a: N s)",
        "said by b",
        "3 of 3 stages ran in N s (each@b: N s)",
        "Next: make predict INPUT=new.csv OUTPUT=scores.csv",
    ]
    assert {"each@a", "each@b"} <= {*json.loads((small / ".dvc/tmp/stages/seconds.json").read_text())}
    assert ran(small, "pipeline.repro").stdout.splitlines()[0] == "nothing to do: 3 stages are up to date"

    done = ran(small, "pipeline.repro", "study")
    assert done.stdout.splitlines()[0].startswith("stage 3 of 3: study/dvc.yaml:more, "), "b is nothing to it"
    assert (small / "study/more").read_text() == "made"
    assert ran(small, "pipeline.repro", "--force", "each@b").stdout.splitlines()[:2][-1].startswith("stage 2 of 2: ")


@pytest.mark.slow
def test_a_failure_names_its_stage_last_and_the_next_run_goes_on(small: Path) -> None:
    (small / "broken").touch()
    done = ran(small, "pipeline.repro")
    assert done.returncode != 0
    assert "error: a: no luck" in done.stderr
    assert done.stderr.splitlines()[-1] == "error: stage each@a failed, see above; the next run goes on from there"
    assert "Next:" not in done.stdout
    kept = ran(small, "pipeline.repro", "--keep-going")
    assert kept.stderr.splitlines()[-1].startswith("error: stage each@a, each@b failed, ")
    (small / "broken").unlink()
    assert ran(small, "pipeline.repro").stdout.splitlines()[0].startswith("stage 2 of 3: each@a, ")


# --- what is in DVC's way ---------------------------------------------------------------------------------------------

COMPLAINTS = {
    "'./dvc.lock' validation failed.\n\nrequired key not provided, in schema": ["dvc.lock"],
    "'./study/dvc.lock' validation failed: 2 errors.": ["study/dvc.lock"],
    "'./dvc.lock' is invalid (possible merge conflicts).": ["dvc.lock"],
    "ERROR: unable to read: 'dvc.lock', YAML file structure is corrupted: unacceptable character": ["dvc.lock"],
    "ERROR: unable to read: 'dvc.lock', is not valid utf-8: 'utf-8' codec can't": ["dvc.lock"],
    "ERROR: '/home/me/tweets/dvc.lock' is git-ignored.": [],
    "'./dvc.yaml' is invalid.": [],
    "ERROR: failed to reproduce 'dvc.lock'": [],
}


def test_what_dvc_cannot_read_is_taken_from_its_own_words() -> None:
    assert {complaint: UNREADABLE.findall(complaint) for complaint in COMPLAINTS} == COMPLAINTS


SPOILT = {
    "cut": lambda whole: whole[: whole.index(b"path:") + 3],
    "a conflict": lambda whole: b"<<<<<<< HEAD\n" + whole,
    "zeros": lambda whole: bytes(len(whole)),
}


@pytest.mark.slow
def test_a_lock_file_that_dvc_cannot_read_is_the_committed_one_again(small: Path) -> None:
    said(ran(small, "pipeline.repro", "prepare"))
    path = small / "dvc.lock"
    whole = path.read_bytes()
    commit(small)
    for spoil in SPOILT.values():
        path.write_bytes(spoilt := spoil(whole))
        assert said(ran(small, "pipeline.repro", "prepare")).splitlines() == [
            "dvc.lock could not be read: the committed one is back, the other is .dvc/tmp/dvc.lock-torn",
            "nothing to do: 1 stages are up to date",
        ]
        assert path.read_bytes() == whole
        assert (small / ".dvc/tmp/dvc.lock-torn").read_bytes() == spoilt


def test_without_a_committed_lock_file_dvc_writes_it_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("study/dvc.lock", ".dvc/tmp/rwlock"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("{")
    (line,) = mend_locks("'./study/dvc.lock' is invalid.")
    assert line == "study/dvc.lock could not be read: it is now .dvc/tmp/study-dvc.lock-torn, and DVC writes it anew"
    assert mend_rwlock() == ".dvc/tmp/rwlock was half written: removed"
    assert mend_rwlock() is None
    assert [str(path) for path in Path().rglob("*") if path.is_file()] == [".dvc/tmp/study-dvc.lock-torn"]


@pytest.mark.slow
def test_a_project_without_git_runs_and_says_so_once(small: Path) -> None:
    shutil.rmtree(small / ".git")
    assert "is not a git repository" in ran(small, "dvc", "repro", "prepare").stderr
    done = ran(small, "pipeline.repro", "prepare")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.splitlines()[0].startswith("no git here: DVC works without (core.no_scm)")
    assert ran(small, "pipeline.repro", "prepare").stdout.splitlines()[0].startswith("nothing to do")


def test_what_is_not_there_is_one_line_before_dvc_starts(small: Path, tmp_path: Path) -> None:
    assert "no DVC project here; run it in the project's folder" in one_line_error(ran(tmp_path, "pipeline.repro"))
    (small / "params.yaml").write_text("data: { source: data/kagle }\nnames: []\n")
    assert one_line_error(ran(small, "pipeline.repro")) == (
        "error: params.yaml: data.source: data/kagle: no such file or folder; data.source must hold train.csv"
    )
    (small / "params.yaml").write_text("data: { source: data/kaggle }\nnames: []\n")
    error = one_line_error(ran(small, "pipeline.repro"))
    assert "kaggle.com/c/nlp-getting-started/rules, then run `python -m pipeline.kaggle.download`" in error


def test_a_name_that_a_shell_would_run_is_refused_before_dvc_starts(small: Path) -> None:
    (small / "params.yaml").write_text('data: { source: given }\nnames: ["a; touch pwned"]\n')
    assert "'a; touch pwned': not a name" in one_line_error(ran(small, "pipeline.repro"))
    assert not (small / "pwned").exists()


@pytest.mark.slow
def test_a_copy_of_the_project_says_how_it_gets_the_tweets_and_so_it_does(project: Path, command: Command) -> None:
    """It has what git knows, which is nothing of data/kaggle but its README."""
    shutil.copytree(ROOT / "data/kaggle", project / "data/kaggle", ignore=shutil.ignore_patterns("*.csv", "*.json"))
    commit(project)
    for name in ("train.csv", "test.csv"):
        shutil.copy(project / "data/sample" / name, project / "data/kaggle" / name)
    run = ("dvc", "exp", "run", "--temp", "-S", "data.source=data/kaggle")
    error = one_line_error(command(*run, "prepare"))
    assert "not in this copy of the project, which lacks what git ignores" in error
    files = re.findall(r"`(.+?)`", error)[0].split()
    assert files == ["-C", "data/kaggle/train.csv", "-C", "data/kaggle/test.csv"]
    assert "prepare: 90 train and 20 test tweets" in said(command(*run, *files, "prepare"))
    git(project, "add", "-A")
    shown = subprocess.run(["git", "ls-files", "data/kaggle"], cwd=project, capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["data/kaggle/README.md"]
