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

from pipeline.classifiers.chosen import Chosen, choose, fit_chosen
from pipeline.classifiers.cross_fit import Trainer, cross_fit
from pipeline.classifiers.saved import Origin
from pipeline.classifiers.written import write_cross_fit
from pipeline.contracts import Params, School, plain_name, read_params, read_prepared
from pipeline.data.embed import EmbedParams, embed
from pipeline.data.embeddings import embeddings_digest, embeddings_path, read_embeddings
from pipeline.vectors.space import vectors, with_vectors


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


def classify_vectors(
    family: str, school: School, trainer: Callable[[str], Trainer], parameters: Callable[[Any], int]
) -> None:
    """Score all tweets by `family` on the embeddings of the encoder that the command line names."""
    parser = argparse.ArgumentParser(description=f"Classify sentence embeddings: {family}.")
    parser.add_argument("encoder", type=plain_name, help="a key of embed in params.yaml")
    encoder = parser.parse_args().encoder
    own = trainer(encoder)
    prepared = own.with_inputs(read_prepared())
    name = f"{family}_{encoder}"
    fitted = cross_fit(name, prepared, own.fit_fold, own.predict, parameters, save=own.save)
    write_cross_fit(
        name,
        school,
        prepared,
        fitted,
        trainable=max(fitted.kept),
        total=max(fitted.kept),
        origin=Origin(f"vectors.{family}", encoder, own),
        reads=f"embed_{encoder}",  # a tweet must be embedded before it can be classified
    )
