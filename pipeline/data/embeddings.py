"""The sentence embeddings that the stage embed writes, a file for each encoder."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open

from pipeline.contracts import InputError, Prepared

FOLDER = Path("data/embed")


class Embeddings(NamedTuple):
    """Vectors of unit length, in the order of the prepared tweets: `train` (n_train, d) and `test` (n_test, d), float32."""

    train: np.ndarray
    test: np.ndarray


def embeddings_path(encoder: str) -> Path:
    return FOLDER / f"{encoder}.safetensors"


def read_embeddings(prepared: Prepared, encoder: str) -> Embeddings:
    """The embeddings of these prepared tweets by an encoder of params.yaml; those of other tweets are refused."""
    path = embeddings_path(encoder)
    try:
        with safe_open(path, framework="numpy") as file:
            if (file.metadata() or {}).get("prepared") != prepared.digest:
                raise InputError(
                    f"{path}: made from other prepared tweets; run `dvc repro embed@{encoder}` to make it anew"
                )
            return Embeddings(file.get_tensor("train"), file.get_tensor("test"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run `dvc repro embed@{encoder}` first") from None
    except SafetensorError as error:
        raise InputError(f"{path}: not an embeddings file: {error}") from None
