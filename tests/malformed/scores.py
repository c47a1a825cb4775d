"""What stages hand to each other, spoilt: prepared tweets, predictions, costs, embeddings, a blend, transcripts, answers."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from conftest import set_param
from safetensors.numpy import load_file, save_file

from pipeline.contracts import predictions_frame, read_prepared, write_predictions

from .case import PARAMS, Case, Spoil, both, recoded, removed, replaced, whole

SOME, TRAIN, EMBEDDINGS = "predictions/some.parquet", "data/prepared/train.parquet", "data/embed/minilm.safetensors"
EVALUATE = "pipeline.compare.evaluate"
WHERE = r"predictions: no predictions to compare; left out predictions/some\.parquet: "


def half(raw: bytes) -> bytes:
    return raw[: len(raw) // 2]


def frame(change: Callable[[pd.DataFrame], pd.DataFrame], path: str = SOME) -> Spoil:
    """A parquet file with its rows or columns changed, and its metadata kept."""

    def spoil(project: Path) -> None:
        before = pd.read_parquet(project / path)
        after = change(before)
        after.attrs = after.attrs or before.attrs
        after.to_parquet(project / path, index=False)

    return spoil


def cell(column: str, row: int, value: object) -> Spoil:
    """A value in a row, counted from 1."""

    def change(found: pd.DataFrame) -> pd.DataFrame:
        found.loc[row - 1, column] = value
        return found

    return frame(change)


def scored(name: str, spoil: Spoil, message: str) -> Case:
    return Case(name, spoil, WHERE + message, EVALUATE)


PREDICTIONS = [
    scored("Predictions cut in half", recoded(SOME, half), "not a parquet file: .*"),
    scored(
        "A column that is missing",
        frame(lambda found: found.drop(columns="fold")),
        "columns are id, split, score, status, not .*",
    ),
    scored("Scores as words", frame(lambda found: found.astype({"score": str})), "column score: holds str"),
    scored("A score above 1", cell("score", 3, 1.2), r"row 3, column score: 1\.2 must be a probability .*"),
    scored("A score of NaN", cell("score", 3, np.nan), "row 3, column status: ok where unparsed is due, .*"),
    scored("An id twice in predictions", cell("id", 3, 2), "row 3, column id: 2 where 3 is due, .*"),
    scored(
        "Rows that are missing", frame(lambda found: found.head(46)), "46 rows where the prepared tweets make 48 due"
    ),
]


def vectors(change: Callable[[dict[str, np.ndarray]], object]) -> Spoil:
    """The embeddings, changed."""

    def spoil(project: Path) -> None:
        path, digest = project / EMBEDDINGS, read_prepared(project / "data/prepared").digest
        found = load_file(path)
        change(found)
        save_file(found, path, metadata={"prepared": digest})

    return spoil


def embedded(name: str, spoil: Spoil, message: str) -> Case:
    return Case(name, spoil, r"data/embed/minilm\.safetensors: " + message, "pipeline.vectors.gaussian minilm")


def answered(project: Path) -> None:
    """A store with one answer in it, which is none."""
    (project / "store").mkdir()
    with sqlite3.connect(project / "store/answers.sqlite") as db:
        db.execute("CREATE TABLE answers (key TEXT PRIMARY KEY, identity, request, answer, created) WITHOUT ROWID")
        db.execute("INSERT INTO answers VALUES ('0a1b', 'm', '{}', 'Yes', '2026-01-01')")


def as_prompted(project: Path) -> None:
    """The scores of `some`, as those of a prompt with a transcript."""
    prepared = read_prepared(project / "data/prepared")
    frames = [predictions_frame(prepared.train, "train", np.full(40, 0.5))]
    set_param(project, "classifiers", {"counts": ["some"], "prompts": ["zero_shot"]})
    write_predictions("prompt_zero_shot", frames, prepared, "prompted", "none", project / "predictions")
    line = json.dumps({"id": 1, "asked": [{"answer": {"replies": ["Yes"]}}]})
    whole("transcripts/prompt_zero_shot.jsonl", f"{line}\n{line[:20]}\n")(project)


REPORT, COSTS, CURVE = "data/prepared/report.json", "costs/some.json", "study/learning_curve/naive_bayes.parquet"
STAGES = [
    Case("No prepared tweets", removed(TRAIN), r"data/prepared/train\.parquet: no such file; .*", EVALUATE),
    Case("A data report that is no JSON", whole(REPORT, "{"), r"data/prepared/report\.json: not JSON: .*", EVALUATE),
    Case("No costs", removed(COSTS), r"costs/some\.json: not a costs file: No such file or directory", EVALUATE),
    Case(
        "A blend's verdict without a key",
        both(
            whole("blend/comparison.json", '{"best_single": "some"}'),
            replaced(PARAMS, "classifier: #", "classifier: blend #"),
        ),
        r"params\.yaml: submission\.classifier: left out blend/comparison\.json: not what .* writes: gain: Field required",
        "pipeline.compare.submission",
    ),
    embedded("No embeddings", removed(EMBEDDINGS), "no such file; run .*"),
    embedded("Embeddings cut in half", recoded(EMBEDDINGS, half), "not an embeddings file: .*"),
    embedded(
        "Embeddings of one tweet too few",
        vectors(lambda found: found.update(train=found["train"][1:])),
        r"train: shape \(39, 4\), where 40 tweets need a vector each",
    ),
    embedded(
        "An embedding of NaN",
        vectors(lambda found: found["train"].__setitem__((2, 1), np.nan)),
        "train: row 3 is not finite; .*",
    ),
    Case(
        "A learning curve that is none",
        whole(CURVE, "PAR1"),
        r"study/learning_curve/naive_bayes\.parquet: not a parquet file: .*",
        "pipeline.curves.crossover",
    ),
    Case(
        "A line of a transcript cut off",
        as_prompted,
        r"transcripts/prompt_zero_shot\.jsonl: line 2: not of a transcript: .*",
        "pipeline.errors.explanations",
    ),
    Case(
        "An answer store that is none",
        whole("store/answers.sqlite", "no database, but long enough to be taken for one" * 30),
        r".*/store/answers\.sqlite: file is not a database",
        "tools.answers size",
    ),
    Case(
        "An answer that is no JSON",
        answered,
        r".*/store/answers\.sqlite: table answers, key 0a1b: not an answer: Invalid JSON: .*",
        "tools.answers size",
    ),
]
CASES = [*PREDICTIONS, *STAGES]
