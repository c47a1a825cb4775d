"""The contract of the prepared tweets, which every classifier learns from and scores."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.contracts.errors import InputError
from pipeline.contracts.files import read_parquet

PREPARED = Path("data/prepared")

TWEET = {"id", "keyword", "location", "text", "raw_text", "group"}
LABELLED = {"target", "train_target", "fold"}
"""The columns of the prepared tweets, and those that only train has."""


@dataclass(frozen=True)
class Prepared:
    """The prepared tweets.

    Both frames hold `id` (int64), `keyword`, `location` (string or null), `text` (cleaned), `raw_text` and `group` (rows that
    are never split: near-duplicates share one). Where the source has a group column, whose rows share a `group` too, they
    also hold `duplicate`, the near-duplicates alone: see `near_duplicates`. `train` also holds `target` (0/1, what every score
    is measured against), `train_target` (what training may learn from; null where a row is left out) and `fold`.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    digest: str
    """Hash of both files: predictions made from other tweets are recognised by it."""


def near_duplicates(tweets: pd.DataFrame) -> pd.Series:
    """The near-duplicate group of each row, which may be a part of its `group`."""
    return tweets["duplicate" if "duplicate" in tweets else "group"]


def files_in(folder: Path) -> list[Path]:
    return [folder / "train.parquet", folder / "test.parquet"]


def prepared_digest(folder: Path = PREPARED) -> str | None:
    """The digest of `Prepared`; None if there are no prepared tweets."""
    paths = files_in(folder)
    if not all(path.is_file() for path in paths):
        return None
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def read_prepared(folder: Path = PREPARED) -> Prepared:
    paths = files_in(folder)
    if (digest := prepared_digest(folder)) is None:
        missing_file = next(path for path in paths if not path.is_file())
        raise InputError(f"{missing_file}: no such file; run `dvc repro prepare` first")
    train, test = map(read_parquet, paths)
    for path, frame, columns in ((paths[0], train, TWEET | LABELLED), (paths[1], test, TWEET)):
        if missing := columns - set(frame.columns):
            raise InputError(f"{path}: no column {', '.join(sorted(missing))}; run `dvc repro prepare` to make it anew")
    return Prepared(train, test, digest)
