"""What the stages on counts all do: fit to the counts, cross-fit, write predictions, costs and what each word weighs."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pandas as pd

from pipeline.contracts import Params, School, read_params, read_prepared
from pipeline.counts.counts import CountsParams, load, save, write_words
from pipeline.fit.chosen import Chosen
from pipeline.fit.cross_fit import Trainer, cross_fit
from pipeline.fit.saved import Origin
from pipeline.fit.written import write_cross_fit

Own = TypeVar("Own", bound=Params)


def on_counts(
    params: Own,
    fit: Callable[[pd.DataFrame, np.ndarray, Own, CountsParams], Chosen],
    predict: Callable[[Chosen, pd.DataFrame], np.ndarray],
) -> Trainer:
    """How a family, with its params and the counts that all share, is fitted to tweets and labels of shape (n,)."""
    counts = read_params("counts", CountsParams)
    return Trainer(
        lambda tweets, labels, _: fit(tweets, labels, params, counts),
        predict,
        {"params": params.model_dump(), "counts": counts.model_dump()},
        save=save,
        load=load,
    )


def classify_counts(
    name: str,
    school: School,
    trainer: Trainer,
    parameters: Callable[[Chosen], int],
    weights: Callable[[Chosen], pd.Series] | None = None,
) -> None:
    """Score all tweets by a family on counts, and write what it leaves.

    `name` is that of its module too. `parameters` counts those of a model; `weights` are what its terms (the index) speak for
    target 1, of a family that has such.
    """
    prepared = read_prepared()
    fitted = cross_fit(
        name,
        prepared,
        trainer.fit_fold,
        trainer.predict,
        lambda model: (parameters(model), weights(model) if weights else None),
        save=trainer.save,
    )
    sizes, of_terms = zip(*fitted.kept, strict=True)
    if weights:
        write_words(name, list(of_terms))
    origin = Origin(f"counts.{name}", None, trainer)
    write_cross_fit(name, school, prepared, fitted, trainable=max(sizes), total=max(sizes), origin=origin)
