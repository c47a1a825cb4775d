"""Export the best classifier's test decisions as a csv that Kaggle accepts.

in:  data/prepared, predictions/*.parquet
out: submission/submission.csv, submission/choice.json
run: dvc repro submission   (or python -m pipeline.verdict.submission)
"""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

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
from pipeline.verdict.scored import THRESHOLD, decide, read_all, scored_rows

OUT = Path("submission")


class SubmissionParams(Params):
    classifier: str | None
    """The classifier to submit; null for the one with the best out-of-fold accuracy."""


@dataclass(frozen=True)
class Rule:
    """How a classifier's scores become decisions, and how accurate that is out-of-fold."""

    classifier: str
    rows: int
    accuracy_at_half: float
    accuracy_cross_fitted: float
    """With each fold decided by the threshold that is best on the other folds."""
    threshold: float

    @property
    def accuracy(self) -> float:
        return max(self.accuracy_at_half, self.accuracy_cross_fitted)


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


def fit_rule(name: str, targets: np.ndarray, scores: np.ndarray, folds: np.ndarray) -> Rule:
    """The classifier's rule: a threshold fitted on all rows if cross-fitting shows that fitting it pays, else one half."""
    right = np.empty(len(targets), dtype=bool)
    for fold in np.unique(folds):
        held_out = folds == fold
        threshold = best_threshold(targets[~held_out], scores[~held_out])
        right[held_out] = decide(targets[held_out], scores[held_out], threshold) == targets[held_out]
    at_half = float((decide(targets, scores) == targets).mean())
    cross_fitted = float(right.mean())
    return Rule(
        classifier=name,
        rows=len(targets),
        accuracy_at_half=at_half,
        accuracy_cross_fitted=cross_fitted,
        threshold=best_threshold(targets, scores) if cross_fitted > at_half else THRESHOLD,
    )


def candidates(classifiers: list[Predictions], prepared: Prepared) -> dict[str, Rule]:
    """The rules of all classifiers that can score every test row, best first."""
    rules = []
    for one in classifiers:
        if not one.test.empty and one.test["score"].notna().all():
            rows = scored_rows(prepared, one)
            folds = one.train["fold"].to_numpy()
            rules.append(fit_rule(one.name, rows["target"].to_numpy(), rows["score"].to_numpy(), folds))
    return {rule.classifier: rule for rule in sorted(rules, key=lambda rule: -rule.accuracy)}


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
    rules = candidates(classifiers, prepared)
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
        "chosen": asdict(rule) | {"share_of_positives": share},
        "candidates": [asdict(one) for one in rules.values()],
    }
    write_text(OUT / "submission.csv", text)
    write_text(OUT / "choice.json", json.dumps(choice, indent=2) + "\n")
    print(
        f"submission: {name}, out-of-fold accuracy {rule.accuracy:.4f} at threshold {rule.threshold:.3f}; "
        f"{len(decided)} rows, {share:.1%} positive"
    )


if __name__ == "__main__":
    run(main)
