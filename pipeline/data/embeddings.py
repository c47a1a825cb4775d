"""The sentence embeddings that the stage embed writes, a file for each encoder."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open

from pipeline.contracts import InputError, Prepared, reason

FOLDER = Path("data/embed")


class Embeddings(NamedTuple):
    """Vectors of unit length, in the order of the prepared tweets: `train` (n_train, d) and `test` (n_test, d), float32."""

    train: np.ndarray
    test: np.ndarray


def embeddings_path(encoder: str) -> Path:
    return FOLDER / f"{encoder}.safetensors"


def embeddings_digest(encoder: str) -> str:
    path = embeddings_path(encoder)
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{path}: {reason(error)}; run `dvc repro embed@{encoder}` first") from None


def read_embeddings(prepared: Prepared, encoder: str) -> Embeddings:
    """The embeddings of these prepared tweets by an encoder of params.yaml; those of other tweets are refused."""
    path = embeddings_path(encoder)
    try:
        with safe_open(path, framework="numpy") as file:
            if (file.metadata() or {}).get("prepared") != prepared.digest:
                raise InputError(f"{path}: made from other prepared tweets; run `dvc repro embed@{encoder}` anew")
            found = Embeddings(file.get_tensor("train"), file.get_tensor("test"))
        if any(vectors.dtype.kind != "f" for vectors in found):
            raise TypeError("its numbers are no floats")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run `dvc repro embed@{encoder}` first") from None
    except (SafetensorError, OSError, TypeError, AttributeError) as error:  # the last two: types that numpy lacks
        raise InputError(f"{path}: not an embeddings file: {reason(error)}") from None
    for split, vectors in found._asdict().items():
        tweets = len(getattr(prepared, split))
        if vectors.ndim != 2 or len(vectors) != tweets or vectors.shape[1] != found.train.shape[-1]:
            raise InputError(f"{path}: {split}: shape {vectors.shape}, where {tweets} tweets need a vector each")
        if len(odd := np.flatnonzero(~np.isfinite(vectors).all(axis=1))):
            raise InputError(f"{path}: {split}: row {odd[0] + 1} is not finite; run `dvc repro embed@{encoder}` anew")
    return found
