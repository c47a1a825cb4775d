"""Take out of an LLM's scores how much it likes a label word whatever the tweet. Scores are P(target = 1)."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from pipeline.contracts import InputError, Prepared
from pipeline.prompting.params import Debiasing
from pipeline.stats.metrics import CLIP, log_odds


def against(scores: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Scores divided by a prior, label by label, and normalised: shapes (n,) and (n,) or ()."""
    yes, no = scores / prior, (1 - scores) / (1 - prior)
    found: np.ndarray = yes / (yes + no)
    return found


def contextual(scores: np.ndarray, content_free: np.ndarray) -> np.ndarray:
    """Contextual calibration (Zhao et al. 2021, https://arxiv.org/abs/2102.09690).

    `content_free`, shape (k, n): what the model says in each row's context to inputs without content; their mean is the prior.
    Those that could not be read (NaN) are left out.
    """
    return against(scores, np.clip(np.nanmean(content_free, axis=0), CLIP, 1 - CLIP))


def batch(scores: np.ndarray, batches: np.ndarray) -> np.ndarray:
    """Batch calibration (Zhou et al. 2023, https://arxiv.org/abs/2309.17249): the prior is the mean score in a row's context."""
    found = np.array(scores, dtype=float)
    for one in np.unique(batches):
        rows = batches == one
        if not np.isnan(scores[rows]).all():
            found[rows] = against(scores[rows], np.clip(np.nanmean(scores[rows]), CLIP, 1 - CLIP))
    return found


def fit_platt(scores: np.ndarray, known: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Platt scaling (Platt 1999): a logistic regression on the log-odds of rows that were read and whose labels are known.

    What was not read, and a label that is not known, is NaN.
    """
    learnt = ~np.isnan(scores) & ~np.isnan(known)
    fitted = LogisticRegression(C=np.inf).fit(log_odds(scores[learnt])[:, None], known[learnt])

    def rescaled(others: np.ndarray) -> np.ndarray:
        found = np.full(len(others), np.nan)
        read = ~np.isnan(others)
        if read.any():
            found[read] = fitted.predict_proba(log_odds(others[read])[:, None])[:, 1]
        return found

    return rescaled


def platt(scores: np.ndarray, folds: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Platt scaling, cross-fitted: what `fit_platt` learns from the labels of other folds."""
    found = np.full(len(scores), np.nan)
    for fold in np.unique(folds[~np.isnan(scores)]):
        others, here = folds != fold, folds == fold
        labels = known[others & ~np.isnan(scores)]
        if len(np.unique(labels[~np.isnan(labels)])) < 2:
            raise InputError(
                "prompt.calibration: platt: the other folds hold no labels of both kinds; raise prompt.train_rows"
            )
        found[here] = fit_platt(scores[others], known[others])(scores[here])
    return found


def debiased(
    method: Debiasing,
    scores: np.ndarray,
    rows: pd.DataFrame,
    prepared: Prepared,
    *,
    batches: np.ndarray,
    content_free: np.ndarray | None = None,
) -> tuple[np.ndarray, int]:
    """The scores of `rows` (with `id`, `split` and `fold`) by the method that the params name, and how many labels that took."""
    if method == "contextual" and content_free is not None:
        return contextual(scores, content_free), 0
    if method == "batch":
        return batch(scores, batches), 0
    if method == "platt":
        known = known_labels(rows, prepared)
        return platt(scores, rows["fold"].to_numpy(), known), int((~np.isnan(known)).sum())
    return scores, 0


def usable(method: Debiasing, *, hard: bool, name: str) -> Debiasing:
    """The method, or "none" with a line on it: of scores that are 0 or 1, only `platt` changes anything."""
    if hard and method in ("contextual", "batch"):
        print(f"{name}: calibration: {method} cannot change replies of one word; none is done")
        return "none"
    return method


def known_labels(rows: pd.DataFrame, prepared: Prepared) -> np.ndarray:
    """What may be learnt from, shape (n,): the labels of train rows; NaN for those left out, and for other rows."""
    labels = prepared.train.set_index("id")["train_target"].reindex(rows["id"])
    return np.where(rows["split"] == "train", labels.to_numpy(dtype=float, na_value=np.nan), np.nan)
