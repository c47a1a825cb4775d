"""Scores of held-out tweets by a model of a part of the others: learning curves are made of such points.

Each is computed once, and kept in the store under all that determines it; computed anew if it is not as it was written.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

from pipeline.code import computing
from pipeline.contracts import InputError, Prepared, written_whole
from pipeline.fit.classifier import Classifier
from pipeline.fit.cross_fit import training_rows
from pipeline.fit.subsets import nested_order
from pipeline.store import store_folder

CHECKSUM = hashlib.sha256().digest_size


def made_by(own: Classifier) -> str:
    """Hash of what makes a family's scores beside params and tweets: its code and this module's, libraries, and what is here."""
    code = computing(f"pipeline.{own.family()}", __name__, "pipeline.contracts.prepared")
    return hashlib.sha256(json.dumps([code, own.here()], sort_keys=True).encode()).hexdigest()


def score_point(own: Classifier, prepared: Prepared, fold: int, size: int, seed: int) -> np.ndarray:
    """Scores of the fold's rows, shape (rows,), by a model that was given `size` labels of the other folds."""
    tweets, labels = training_rows(prepared.train, fold)
    known = nested_order(tweets, labels, seed)[:size]
    if own.semi_supervised:
        labels = np.where(np.isin(np.arange(len(labels)), known), labels, -1)
    else:
        tweets, labels = tweets.iloc[known], labels[known]
    return own.predict(own.fit(tweets, labels, seed), prepared.train[prepared.train["fold"] == fold])


def stored_point(own: Classifier, prepared: Prepared, made: str, fold: int, size: int, seed: int) -> np.ndarray:
    """As `score_point`, from the store if it is there; `made` is what `made_by` says."""
    point = {"by": own.determined_by, "prepared": prepared.digest, "made": made, "at": [fold, size, seed]}
    key = hashlib.sha256(json.dumps(point, sort_keys=True).encode()).hexdigest()
    path = store_folder() / "learning_curve" / f"{key}.scores"
    rows = int((prepared.train["fold"] == fold).sum())
    if (found := read(path)) is None:
        found = np.asarray(score_point(own, prepared, fold, size, seed), dtype=np.float64)
        if found.shape != (rows,) or not ((found >= 0) & (found <= 1)).all():
            raise InputError(
                f"learning_curve: a model's scores are no probabilities ({point['at']}): its training diverged"
            )
        with written_whole(path) as partial:
            partial.write_bytes(checksum(path, found.tobytes()) + found.tobytes())
    return found


def read(path: Path) -> np.ndarray | None:
    """What an entry of the store holds, shape (rows,); None if there is none, or it is not as it was written."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    said, numbers = content[:CHECKSUM], content[CHECKSUM:]
    return np.frombuffer(numbers, dtype=np.float64).copy() if said == checksum(path, numbers) else None


def checksum(path: Path, numbers: bytes) -> bytes:
    """Of an entry's content, and of its name: one that was copied over another is not taken for it."""
    return hashlib.sha256(path.stem.encode() + numbers).digest()
