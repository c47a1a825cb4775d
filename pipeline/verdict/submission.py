"""Export the best classifier's test decisions as a csv that Kaggle accepts.

in:  data/prepared, predictions/*.parquet
out: submission/submission.csv, submission/choice.json
run: dvc repro submission   (or python -m pipeline.verdict.submission)
"""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.contracts import (
    InputError,
    Params,
    Predictions,
    Prepared,
    read_params,
    read_prepared,
    run,
    write_text,
)
from pipeline.verdict.scored import THRESHOLD, decide, rank, read_all, scored_rows

OUT = Path("submission")


class SubmissionParams(Params):
    classifier: str | None
    """The classifier to submit; null for the one with the best out-of-fold accuracy."""


@dataclass(frozen=True)
class Rule:
    """How a classifier's scores become decisions, and how accurate that is out-of-fold."""

    classifier: str
    threshold: float
    accuracy_at_half: float
    accuracy_cross_fitted: float
    """With each fold decided by the threshold that is best on the other folds."""
    right: pd.Series
    """Whether each row that the classifier covers is decided rightly, indexed by id: the better of the two ways."""

    def report(self) -> dict[str, Any]:
        numbers = {key: value for key, value in asdict(self).items() if key != "right"}
        return numbers | {"rows": len(self.right), "accuracy": float(self.right.mean())}


def best_threshold(targets: np.ndarray, scores: np.ndarray) -> float:
    """The threshold with the best accuracy; in the middle of the widest gap where several are equally good.

    Candidates are the midpoints between neighbouring scores and the two ends; unparsed rows (NaN) have no say.
    """
    read = ~np.isnan(scores)
    order = np.argsort(scores[read], kind="stable")
    ordered, labels = scores[read][order], targets[read][order]
    edges = np.concatenate([[0.0], ordered, [np.nextafter(1, 2)]])
    widths = np.diff(edges)
    # Right when all below i are called 0 and all from i on are called 1.
    right = np.concatenate([[0], np.cumsum(labels == 0)]) + np.concatenate([np.cumsum(labels[::-1] == 1)[::-1], [0]])
    right = np.where(widths > 0, right, -1)
    best = np.flatnonzero(right == right.max())
    widest = best[np.argmax(widths[best])]
    return float((edges[widest] + edges[widest + 1]) / 2)


def fit_rule(name: str, rows: pd.DataFrame, folds: np.ndarray) -> Rule:
    """The classifier's rule: a threshold fitted on all rows if cross-fitting shows that fitting it pays, else one half.

    `rows` are those of `scored_rows`, folds have shape (n,).
    """
    targets, scores = rows["target"].to_numpy(), rows["score"].to_numpy()
    at_half = decide(targets, scores) == targets
    fitted = np.empty(len(targets), dtype=bool)
    for fold in np.unique(folds):
        held_out = folds == fold
        threshold = best_threshold(targets[~held_out], scores[~held_out])
        fitted[held_out] = decide(targets[held_out], scores[held_out], threshold) == targets[held_out]
    pays = fitted.mean() > at_half.mean()
    return Rule(
        classifier=name,
        threshold=best_threshold(targets, scores) if pays else THRESHOLD,
        accuracy_at_half=float(at_half.mean()),
        accuracy_cross_fitted=float(fitted.mean()),
        right=pd.Series(fitted if pays else at_half, index=rows.index),
    )


def candidates(classifiers: list[Predictions], prepared: Prepared) -> list[Rule]:
    """The rules of all classifiers that scored every test row, ranked by `rank`."""
    rules = {
        one.name: fit_rule(one.name, scored_rows(prepared, one), one.train["fold"].to_numpy())
        for one in classifiers
        if not one.test.empty and one.test["score"].notna().all()
    }
    return [rules[name] for name in rank({name: rule.right for name, rule in rules.items()})]


def check_submission(text: str, test: pd.DataFrame) -> None:
    """Raise `InputError` unless the csv is what Kaggle wants: `id,target`, every test id once and in order, 0 or 1."""
    lines = text.split("\n")
    if lines[0] != "id,target" or lines[-1] != "":
        raise InputError("submission.csv: must begin with the line id,target and end with a line break")
    for number, line in enumerate(lines[1:-1], start=2):
        if not re.fullmatch(r"-?\d+,[01]", line):
            raise InputError(f"submission.csv: line {number}: {line!r:.60} is not an integer id and a 0 or 1")
    if [int(line.split(",")[0]) for line in lines[1:-1]] != test["id"].tolist():
        raise InputError("submission.csv: ids are not those of the test set, each once and in its order")


def main() -> None:
    params = read_params("submission", SubmissionParams)
    prepared = read_prepared()
    classifiers, _ = read_all(prepared)
    rules = {rule.classifier: rule for rule in candidates(classifiers, prepared)}
    if not rules:
        raise InputError("submission: no classifier scored every test row")
    name = params.classifier or next(iter(rules))
    if name not in rules:
        raise InputError(
            f"params.yaml: submission.classifier: {name} did not score every test row; {', '.join(rules)} did"
        )
    rule = rules[name]
    scores = next(one.test["score"] for one in classifiers if one.name == name)
    decided = pd.DataFrame({"id": prepared.test["id"], "target": (scores > rule.threshold).astype(int)})
    text = decided.to_csv(index=False, lineterminator="\n")
    check_submission(text, prepared.test)
    share = float(decided["target"].mean())
    choice = {
        "chosen": rule.report() | {"share_of_positives": share},
        "candidates": [one.report() for one in rules.values()],
    }
    write_text(OUT / "submission.csv", text)
    write_text(OUT / "choice.json", json.dumps(choice, indent=2) + "\n")
    print(
        f"submission: {name}, out-of-fold accuracy {rule.right.mean():.4f} at threshold {rule.threshold:.3f}; "
        f"{len(decided)} rows, {share:.1%} positive"
    )


if __name__ == "__main__":
    run(main)
