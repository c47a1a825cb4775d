"""The contract of predictions: one score for each tweet, checked where they are written and where they are read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pandas.api.types import is_float_dtype, is_integer_dtype, is_string_dtype
from pydantic import BaseModel, Field, ValidationError

from pipeline.contracts.errors import InputError, first_fault
from pipeline.contracts.files import read_parquet, written_whole
from pipeline.contracts.prepared import Prepared
from pipeline.places import results

PREDICTIONS = Path("predictions")
UNCALIBRATED = PREDICTIONS / "uncalibrated"
"""Where a classifier that calibrates its scores leaves them as they were before, under the same contract."""

School = Literal["generative", "discriminative", "prompted", "blend"]
TestRows = Literal["mean log-odds", "refit", "none"]


@dataclass(frozen=True)
class Predictions:
    """One classifier's scores: `train` out-of-fold and `test` (empty if not scored), one row per tweet.

    Columns: `id`, `split`, `fold`, `score` = P(target = 1), `status` ("ok", or "unparsed" where the score is null).
    """

    name: str
    school: School
    test_rows: TestRows
    train: pd.DataFrame
    test: pd.DataFrame
    noise: float | None = None
    """Share of the train rows' decisions that another draw of the noise turns over; None for scores without noise."""


class About(BaseModel):
    """What a predictions file says of itself, in its metadata."""

    name: str
    school: School
    test_rows: TestRows
    prepared: str
    """The digest of the tweets that it was made from."""
    noise: float | None = Field(None, ge=0, le=1)


def predictions_frame(tweets: pd.DataFrame, split: Literal["train", "test"], scores: np.ndarray) -> pd.DataFrame:
    """Predictions for `tweets` from scores of shape (n,); NaN marks a reply that could not be read."""
    return pd.DataFrame(
        {
            "id": tweets["id"].to_numpy(),
            "split": split,
            "fold": tweets["fold"].to_numpy() if split == "train" else -1,
            "score": np.asarray(scores, dtype=np.float64),
            "status": np.where(np.isnan(scores), "unparsed", "ok"),
        }
    )


KINDS = {
    "id": is_integer_dtype,
    "split": is_string_dtype,
    "fold": is_integer_dtype,
    "score": is_float_dtype,
    "status": is_string_dtype,
}


def first_row(odd: pd.Series) -> int:
    """The row, counted from 1, of the first that is true."""
    return int(np.flatnonzero(odd)[0]) + 1


def check_predictions(frame: pd.DataFrame, prepared: Prepared, school: School, where: str) -> None:
    """Raise `InputError` unless the frame keeps the contract of `Predictions` for these prepared tweets."""
    if list(frame.columns) != list(KINDS):
        raise InputError(f"{where}: columns are {', '.join(map(str, frame.columns))}, not {', '.join(KINDS)}")
    if wrong := [name for name, is_kind in KINDS.items() if not is_kind(frame[name].dtype)]:
        raise InputError(f"{where}: column {wrong[0]}: holds {frame[wrong[0]].dtype}")
    due = pd.concat([prepared.train[["id", "fold"]], prepared.test[["id"]].assign(fold=-1)])
    due["split"] = np.repeat(["train", "test"], [len(prepared.train), len(prepared.test)])
    if school == "prompted":  # may cover a part of the train rows, in their order, and no test rows
        test_too = (frame["split"] == "test").any()
        due = due[np.where(due["split"] == "test", test_too, due["id"].isin(frame["id"]))]
    if len(frame) != len(due):
        raise InputError(f"{where}: {len(frame)} rows where the prepared tweets make {len(due)} due")
    due["status"] = np.where(frame["score"].isna(), "unparsed", "ok")
    for column in ("split", "id", "fold", "status"):
        found, expected = frame[column].to_numpy(), due[column].to_numpy()
        if len(odd := np.flatnonzero(found != expected)):
            at = f"{where}: row {odd[0] + 1}, column {column}"
            raise InputError(f"{at}: {found[odd[0]]!s:.60} where {expected[odd[0]]} is due, of the prepared tweets")
    if (bad := ~frame["score"].fillna(0.5 if school == "prompted" else -1).between(0, 1)).any():
        row = first_row(bad)
        problem = "must be a probability in [0, 1], and only a prompted classifier may leave one out"
        raise InputError(f"{where}: row {row}, column score: {frame['score'].iloc[row - 1]} {problem}")


def write_predictions(
    name: str,
    scored: list[pd.DataFrame],
    prepared: Prepared,
    school: School,
    test_rows: TestRows,
    folder: Path = PREDICTIONS,
    *,
    noise: float | None = None,
) -> None:
    """Check and write `<folder>/<name>.parquet`, in the study below it, from frames made by `predictions_frame`."""
    frame = pd.concat(scored, ignore_index=True)
    path = results(folder) / f"{name}.parquet"
    check_predictions(frame, prepared, school, str(path))
    frame.attrs = {"name": name, "school": school, "test_rows": test_rows, "prepared": prepared.digest, "noise": noise}
    with written_whole(path) as partial:
        frame.to_parquet(partial, index=False)


def read_predictions(path: Path, prepared: Prepared) -> Predictions:
    """Read and check one predictions file; refuse it if it was made from other prepared tweets."""
    frame = read_parquet(path)
    try:
        about = About.model_validate(frame.attrs)
    except ValidationError as error:
        raise InputError(f"{path}: not a predictions file: {first_fault(error)}") from None
    if about.name != path.stem:
        raise InputError(f"{path}: not a predictions file: it holds those of {about.name!r:.60}")
    if about.prepared != prepared.digest:
        raise InputError(f"{path}: made from other prepared tweets; run `dvc repro` to make it anew")
    check_predictions(frame, prepared, about.school, str(path))
    train, test = (frame[frame["split"] == split].reset_index(drop=True) for split in ("train", "test"))
    return Predictions(about.name, about.school, about.test_rows, train, test, about.noise)
