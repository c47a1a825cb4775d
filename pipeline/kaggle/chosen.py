"""The csv that the stage submission wrote, what it says of it, and whether it may be sent."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from pydantic import BaseModel, ValidationError

from pipeline.contracts import InputError, Prepared, first_fault, reason
from pipeline.kaggle.validate import TEST_ROWS, check_file, check_share

FOLDER = Path("submission")
TEST = Path("data/kaggle/test.csv")


class Chosen(BaseModel):
    """What the stage submission says of its csv: the part of choice.json that is needed here."""

    classifier: str
    threshold: float
    rows: int
    accuracy: float
    accuracy_low: float | None
    accuracy_high: float | None
    nested_accuracy: float | None = None
    share_of_positives: float
    share_of_positives_out_of_fold: float
    sha256: str

    def __str__(self) -> str:
        ends = "" if self.accuracy_low is None else f" [{self.accuracy_low:.4f}, {self.accuracy_high:.4f}]"
        nested = "" if self.nested_accuracy is None else f", nested {self.nested_accuracy:.4f}"
        return f"{self.classifier} at {self.threshold:.3f}, out-of-fold accuracy {self.accuracy:.4f}{ends}{nested}"


class Choice(BaseModel):
    chosen: Chosen


def read_submission(folder: Path = FOLDER) -> tuple[bytes, Chosen]:
    """The csv, and what is known of it."""
    try:
        content = (folder / "submission.csv").read_bytes()
        chosen = Choice.model_validate_json((folder / "choice.json").read_bytes()).chosen
    except OSError as error:
        raise InputError(f"{error.filename}: no such file; run `dvc repro submission` first") from None
    except ValidationError as error:
        raise InputError(f"{folder}/choice.json: {first_fault(error)}; run `dvc repro submission` again") from None
    if hashlib.sha256(content).hexdigest() != chosen.sha256:
        raise InputError(
            f"{folder}/submission.csv: not the file that choice.json is about; run `dvc repro submission` again"
        )
    return content, chosen


def competition_ids(test: pd.DataFrame, path: Path = TEST) -> list[int]:
    """The ids of the competition's test tweets; `InputError` if the prepared ones are others."""
    ids: list[int] = test["id"].tolist()
    try:
        there = pd.read_csv(path, usecols=["id"])["id"].tolist() if path.is_file() else None
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise InputError(
            f"{path}: not the competition's: {reason(error)}; python -m pipeline.kaggle.download"
        ) from None
    if ids != there if there else len(ids) != TEST_ROWS:
        raise InputError(
            f"data/prepared: {len(ids):,} test tweets that are not the {len(there) if there else TEST_ROWS:,} of the "
            "competition; run `python -m pipeline.apply data.source=data/kaggle`, then `make repro`"
        )
    return ids


def checked(content: bytes, chosen: Chosen, prepared: Prepared, *, anyway: bool) -> Sequence[int]:
    """The targets in the csv; `InputError` if Kaggle would not take it, or if its share of positives is absurd."""
    targets = check_file(content, competition_ids(prepared.test))
    if not anyway:
        labels = float(prepared.train["target"].mean())
        check_share(targets, chosen.share_of_positives_out_of_fold, chosen.rows, labels)
    return targets
