"""The threshold that a classifier's scores are decided at: one half, or the most accurate one if fitting it clearly pays."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.stats.bootstrap import clears_chance
from pipeline.stats.decisions import THRESHOLD, decide


@dataclass(frozen=True)
class Rule:
    """How a classifier's scores become decisions, and how accurate that is out-of-fold."""

    classifier: str
    threshold: float
    """What decides: the fitted one where its cross-fitted gain over one half clears chance, else one half."""
    fitted_threshold: float
    """The most accurate one on all rows."""
    accuracy_at_half: float
    accuracy_cross_fitted: float
    """With each fold decided by the threshold that is best on the other folds."""
    right: pd.Series
    """Whether each row that the classifier covers is decided rightly, indexed by id, in the way that is taken."""

    def report(self) -> dict[str, Any]:
        numbers = {key: value for key, value in asdict(self).items() if key != "right"}
        return numbers | {"rows": len(self.right), "accuracy": float(self.right.mean())}


def best_threshold(targets: np.ndarray, scores: np.ndarray) -> float:
    """The threshold with the best accuracy; in the middle of the widest gap between scores where several are equally good.

    Unparsed rows (NaN) have no say.
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


def reaching(
    targets: np.ndarray, scores: np.ndarray, *, recall: float = 0.0, precision: float = 0.0
) -> tuple[float, float, float]:
    """The threshold that has the recall with the best precision, or the precision with the best recall; and both that it has.

    Unparsed rows (NaN) are never found. `ValueError` if none reaches it.
    """
    called = np.unique(scores[~np.isnan(scores)])
    found = np.array(
        [[(targets[scores >= least] == 1).sum(), (scores >= least).sum()] for least in called], dtype=float
    )
    shares = found[:, 0] / max(1, (targets == 1).sum()), found[:, 0] / found[:, 1]
    enough = (shares[0] >= recall) & (shares[1] >= precision)
    if not enough.any():
        raise ValueError("no threshold reaches it")
    best = int(np.argmax(np.where(enough, shares[1] if recall else shares[0], -1)))
    return float(np.nextafter(called[best], -1)), float(shares[0][best]), float(shares[1][best])


def fit_rule(name: str, rows: pd.DataFrame, folds: np.ndarray, draws: int, seed: int) -> Rule:
    """A threshold fitted on all rows if the gain of cross-fitted ones over one half clears chance, else one half.

    `rows` are those of `scored_rows`, folds have shape (n,).
    """
    targets, scores = rows["target"].to_numpy(), rows["score"].to_numpy()
    at_half = decide(targets, scores) == targets
    fitted = np.empty(len(targets), dtype=bool)
    for fold in np.unique(folds):
        held_out = folds == fold
        of_others = best_threshold(targets[~held_out], scores[~held_out])
        fitted[held_out] = decide(targets[held_out], scores[held_out], of_others) == targets[held_out]
    gain, threshold = fitted.astype(float) - at_half, best_threshold(targets, scores)
    pays = clears_chance(gain, rows["group"].to_numpy(), draws, seed)
    return Rule(
        classifier=name,
        threshold=threshold if pays else THRESHOLD,
        fitted_threshold=threshold,
        accuracy_at_half=float(at_half.mean()),
        accuracy_cross_fitted=float(fitted.mean()),
        right=pd.Series(fitted if pays else at_half, index=rows.index),
    )


def right_when_nested(
    rows: dict[str, pd.DataFrame], folds: pd.Series, choose: Callable[[dict[str, pd.DataFrame]], Rule]
) -> pd.Series:
    """Whether each row is decided rightly, indexed by id, by what is chosen on the other folds alone (Varma & Simon 2006).

    `rows` has the `scored_rows` of each candidate, folds are indexed by id. Rows of a fold that its chosen classifier did not
    score are left out. Scores are as they come: those of a blend were fitted on scores that this fold's labels came to.
    """
    right = []
    for fold in folds.unique():
        in_fold = {name: (folds[one.index] == fold).to_numpy() for name, one in rows.items()}
        others = {name: one[~in_fold[name]] for name, one in rows.items() if not in_fold[name].all()}
        if not others:
            continue
        rule = choose(others)
        held_out = rows[rule.classifier][in_fold[rule.classifier]]
        targets, scores = held_out["target"].to_numpy(), held_out["score"].to_numpy()
        right.append(pd.Series(decide(targets, scores, rule.threshold) == targets, index=held_out.index))
    return pd.concat(right)
