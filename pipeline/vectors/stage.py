"""What the stages over embeddings all do: read, cross-fit one family, write its predictions and costs."""

import argparse
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pandas as pd

from pipeline.classifiers.cross_fit import cross_fit, write_cross_fit
from pipeline.contracts import Params, School, read_params, read_prepared
from pipeline.data.embeddings import read_embeddings
from pipeline.vectors.space import with_vectors

FamilyParams = TypeVar("FamilyParams", bound=Params)
Model = TypeVar("Model")


def classify_vectors(
    family: str,
    school: School,
    params_type: type[FamilyParams],
    fit: Callable[[pd.DataFrame, np.ndarray, FamilyParams], Model],
    predict: Callable[[Model, pd.DataFrame], np.ndarray],
    parameters: Callable[[Model], int],
) -> None:
    """Score all tweets by `family` on the embeddings of the encoder that the command line names."""
    parser = argparse.ArgumentParser(description=f"Classify sentence embeddings: {family}.")
    parser.add_argument("encoder", help="a key of embed in params.yaml")
    encoder = parser.parse_args().encoder
    params = read_params(f"vectors.{family}", params_type)
    prepared = read_prepared()
    embedded = with_vectors(prepared, read_embeddings(prepared, encoder))
    name = f"{family}_{encoder}"
    fitted = cross_fit(name, embedded, lambda _, tweets, labels: fit(tweets, labels, params), predict, parameters)
    write_cross_fit(name, school, embedded, fitted, trainable=max(fitted.kept), total=max(fitted.kept))
