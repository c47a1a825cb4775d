"""What the stages over embeddings all do: read, cross-fit one family, write its predictions and costs."""

import argparse
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.preprocessing import FunctionTransformer

from pipeline.contracts import Params, School, plain_name, read_params, read_prepared
from pipeline.data.embed import EmbedParams, embed
from pipeline.data.embeddings import embeddings_digest, embeddings_path, read_embeddings
from pipeline.fit.chosen import Chosen, choose, fit_chosen
from pipeline.fit.cross_fit import Trainer, cross_fit
from pipeline.fit.saved import Origin
from pipeline.fit.written import write_cross_fit
from pipeline.vectors.space import vectors, with_vectors

BySeed = Callable[[Any, pd.DataFrame, int], np.ndarray]
"""As a trainer's `predict`, by a seed of the noise that scores hang on; at 0 the same."""


@lru_cache(maxsize=4)
def embed_new(texts: tuple[str, ...], params: EmbedParams) -> np.ndarray:
    """Embeddings of texts, shape (n, d); several families ask for those of the same ones, one batch after another."""
    return embed(list(texts), params)


def on_vectors(
    encoder: str,
    params: Params,
    fit: Callable[[pd.DataFrame, np.ndarray, int], Any],
    predict: Callable[[Any, pd.DataFrame], np.ndarray],
    *,
    save: Callable[[Any, Path], None],
    load: Callable[[Path], Any],
    semi_supervised: bool = False,
) -> Trainer:
    """How a family is fitted to the embeddings of an encoder."""
    embed_params = read_params(f"embed.{encoder}", EmbedParams)
    digest = embeddings_digest(encoder) if embeddings_path(encoder).is_file() else None  # new tweets need none
    return Trainer(
        fit,
        predict,
        {"params": params.model_dump(), "embed": embed_params.model_dump(), "embeddings": digest},
        lambda prepared: with_vectors(prepared, read_embeddings(prepared, encoder)),
        lambda tweets: tweets.assign(vector=list(embed_new(tuple(tweets["text"]), embed_params))),
        semi_supervised,
        save,
        load,
    )


def choose_on_vectors(
    classifiers: Sequence[BaseEstimator], tweets: pd.DataFrame, labels: np.ndarray, inner_folds: int
) -> Chosen:
    """The classifier that is most accurate on inner folds by group, fitted to all tweets with labels of shape (n,)."""
    x, as_it_is = vectors(tweets), FunctionTransformer()
    classifier, rule = choose(as_it_is, classifiers, x, labels, tweets["group"], inner_folds)
    return fit_chosen(as_it_is, classifier, x, labels, rule)


def turned_over(train: pd.DataFrame, models: list[Any], by_seed: BySeed) -> float:
    """Share of out-of-fold decisions that another seed of the noise turns over, mean over three; a model for each fold."""
    turned = []
    for model, (_, rows) in zip(models, train.groupby("fold"), strict=True):
        first, *others = (by_seed(model, rows, seed) > 0.5 for seed in range(4))
        turned += [other != first for other in others]
    return float(np.concatenate(turned).mean())


def classify_vectors(
    family: str,
    school: School,
    trainer: Callable[[str], Trainer],
    parameters: Callable[[Any], int],
    by_seed: BySeed | None = None,
) -> None:
    """Score all tweets by `family` on the embeddings of the encoder that the command line names."""
    parser = argparse.ArgumentParser(description=f"Classify sentence embeddings: {family}.")
    parser.add_argument("encoder", type=plain_name, help="a key of embed in params.yaml")
    encoder = parser.parse_args().encoder
    own = trainer(encoder)
    prepared = own.with_inputs(read_prepared())
    name = f"{family}_{encoder}"
    fitted = cross_fit(name, prepared, own.fit_fold, own.predict, lambda model: model, save=own.save)
    size = max(map(parameters, fitted.kept))
    write_cross_fit(
        name,
        school,
        prepared,
        fitted,
        trainable=size,
        total=size,
        origin=Origin(f"vectors.{family}", encoder, own),
        reads=f"embed_{encoder}",  # a tweet must be embedded before it can be classified
        noise=turned_over(prepared.train, fitted.kept, by_seed) if by_seed else None,
    )
