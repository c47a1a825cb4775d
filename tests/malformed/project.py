"""A small whole project, and what a command says when it meets a case in a copy of it."""

import contextlib
import io
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from conftest import ROOT, as_module, python, run_here, set_param
from safetensors.numpy import save_file

from pipeline.contracts import Costs, School, predictions_frame, read_prepared, write_costs, write_predictions
from pipeline.data.embeddings import embeddings_path
from pipeline.data.prepare import main as prepare

from .case import Case


def tweets(first: int, rows: int) -> pd.DataFrame:
    """Tweets of which no two share a word."""
    numbers = np.arange(first, first + rows)
    text = [f"storm{n} flood{n} alarm{n} street{n}" for n in numbers]
    return pd.DataFrame({"id": numbers, "keyword": "fire", "location": "Rome", "text": text, "target": numbers % 2})


def agree(name: str, school: School, score: float, folder: Path) -> None:
    """In a project: predictions by a classifier that gives all tweets the same score."""
    prepared = read_prepared(folder / "data/prepared")
    train, test = (
        predictions_frame(tweets, split, np.full(len(tweets), score))
        for split, tweets in (("train", prepared.train), ("test", prepared.test))
    )
    write_predictions(name, [train, test], prepared, school, "refit", folder / "predictions")


def make(folder: Path) -> None:
    """A project as `dvc repro` leaves it: 40 train and 8 test tweets, prepared, with embeddings and two classifiers' scores."""
    (folder / "data/sample").mkdir(parents=True)
    (folder / "study").mkdir()
    for name in ("params.yaml", "study/params.yaml", "prompts"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    set_param(folder, "classifiers", {"counts": ["some"]})
    tweets(1, 40).to_csv(folder / "data/sample/train.csv", index=False)
    tweets(101, 8).drop(columns="target").to_csv(folder / "data/sample/test.csv", index=False)
    rng = np.random.default_rng(0)
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        prepare()
        prepared = read_prepared()
        for name, school in (("some", "generative"), ("other", "discriminative")):
            train = predictions_frame(prepared.train, "train", rng.random(40))
            test = predictions_frame(prepared.test, "test", rng.random(8))
            where = Path("predictions") if name == "some" else Path("blend")
            write_predictions(name if name == "some" else "blend", [train, test], prepared, school, "refit", where)
            write_costs(name, Costs(fit_seconds=1, tweets_per_second=1000, peak_memory_mb=1))
        Path("data/embed").mkdir()
        vectors = {"train": rng.random((40, 4), dtype="float32"), "test": rng.random((8, 4), dtype="float32")}
        save_file(vectors, embeddings_path("minilm"), metadata={"prepared": prepared.digest})


@dataclass(frozen=True)
class Outcome:
    status: int
    stderr: str
    changed: list[str]
    """Paths that are not as they were, but for the store's."""

    @property
    def lines(self) -> list[str]:
        """What the user is told, without `error: `."""
        return [line.removeprefix("error: ") for line in self.stderr.splitlines() if line.startswith("error: ")]


def listing(folder: Path) -> dict[str, tuple[int, ...]]:
    """Each path below a folder, with its kind, size and time of change; links are not followed."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        size = 0 if path.is_dir() else status.st_size
        found[str(path.relative_to(folder))] = (status.st_mode, size, 0 if path.is_dir() else status.st_mtime_ns)
    return found


def meet(case: Case, template: Path, folder: Path) -> Outcome:
    """Spoil a copy of the template and run the command there."""
    shutil.copytree(template, folder, symlinks=True)
    case.spoil(folder)
    before = listing(folder)
    store = folder / "store"
    status, stderr = (in_a_process if case.process else in_process)(case.command.split(), folder, store)
    after = listing(folder)
    changed = [path for path in {**before, **after} if before.get(path) != after.get(path)]
    return Outcome(status, stderr, [path for path in changed if path.split("/")[0] != "store"])


def in_process(command: list[str], folder: Path, store: Path) -> tuple[int, str]:
    """The command's exit status, and what is on stderr."""
    done = run_here(command, folder, os.environ | {"DISASTER_TWEETS_STORE": str(store)})
    return done.returncode, done.stderr


def in_a_process(command: list[str], folder: Path, store: Path) -> tuple[int, str]:
    done = python(*as_module(*command), folder=folder, DISASTER_TWEETS_STORE=str(store))
    return done.returncode, done.stderr
