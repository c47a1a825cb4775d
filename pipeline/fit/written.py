"""What a cross-fitted classifier leaves: predictions, costs, and a description of its saved models, which are timed."""

import numpy as np
import pandas as pd

from pipeline.contracts import (
    Costs,
    InputError,
    Prepared,
    peak_memory_mb,
    predictions_frame,
    write_costs,
    write_predictions,
)
from pipeline.fit.classifier import Classifier
from pipeline.fit.cross_fit import MODELS, REFIT, CrossFit, Kept, part
from pipeline.fit.saved import Trained, opened, write_description
from pipeline.latency import Latency, after_reading, timed, with_latency
from pipeline.places import results

TOLERANCE = 0.05
"""Of a saved model's scores: rounded weights and other batches differ by less, a part that was not saved by more."""


def timed_saved(saved: Trained, test: pd.DataFrame, expected: np.ndarray) -> Latency:
    """How fast a saved classifier scores test tweets that have what it reads.

    It is refused if it scores them otherwise than `expected`, shape (n,).
    """
    test = test.reset_index(drop=True)
    latency, scores = timed(saved.score, test)
    apart = (scores - expected[scores.index]).abs()
    if apart.max() > TOLERANCE:
        worst = test["id"].iloc[apart.idxmax()]
        raise InputError(
            f"models/{saved.name}: read back, it scores tweet {worst} otherwise, by {apart.max():.2g}: not all of it was saved"
        )
    return latency


def write_cross_fit(
    name: str,
    own: Classifier,
    prepared: Prepared,
    fitted: CrossFit[Kept],
    *,
    trainable: int,
    total: int,
    reads: str | None = None,
    alone: bool = True,
    noise: float | None = None,
) -> None:
    """Write `predictions/<name>.parquet` and `costs/<name>.json`; the parameter counts are those of one fold's model.

    The models that were saved are described, and timed, unless other processes that do not come here share the work (not
    `alone`). `reads` names the costs of getting from a text to what the models read.
    """
    train = predictions_frame(prepared.train, "train", fitted.train)
    test = predictions_frame(prepared.test, "test", fitted.test)
    write_predictions(name, [train, test], prepared, own.school, fitted.test_rows, noise=noise)
    costs = Costs(
        fit_seconds=fitted.fit_seconds,
        peak_memory_mb=peak_memory_mb(),
        trainable_parameters=trainable,
        total_parameters=total,
    )
    if fitted.test_rows != "none":
        folds = [REFIT] if fitted.test_rows == "refit" else sorted(prepared.train["fold"].unique().tolist())
        parts = list(map(part, folds))
        description = write_description(name, own, fitted.test_rows, parts, prepared.digest)
        if alone and len(prepared.test):
            saved = opened(name, results(MODELS) / name, own, parts, description.seeds)
            costs = with_latency(costs, timed_saved(saved, prepared.test, fitted.test))
    write_costs(name, after_reading(costs, reads) if reads else costs)
