"""The table of what was submitted, and what Kaggle says of it."""

import csv
import io
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

from pipeline.contracts import InputError, validated
from pipeline.kaggle.submissions import Listed

TABLE = Path("leaderboard/submissions.csv")


def none_if_empty(value: object) -> object:
    return None if value == "" else value


Number = Annotated[float | None, BeforeValidator(none_if_empty)]


class Submission(BaseModel):
    """A row of the table. The estimate is the out-of-fold accuracy with the ends of its interval.

    The nested estimate is that of the whole choice, each fold decided by what is best on the others: a table from before it
    was there is read all the same.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    date: str
    """When it was sent, UTC."""
    sha256: str
    """Of the file."""
    message: str
    classifier: str
    threshold: float
    estimate: float
    estimate_low: Number
    estimate_high: Number
    nested_estimate: Number = None
    share_of_positives: float
    status: Literal["pending", "complete", "error"]
    public_score: Number
    ref: Annotated[int | None, BeforeValidator(none_if_empty)]
    """Kaggle's number for it."""


def read_rows(path: Path = TABLE) -> list[Submission]:
    """The table, oldest first; empty if there is none yet."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        table = csv.DictReader(file)
        if {*(table.fieldnames or []), "nested_estimate"} != {*Submission.model_fields}:
            raise InputError(f"{path}: its columns are not {','.join(Submission.model_fields)}")
        return [validated(Submission, row, f"{path}: row {number}") for number, row in enumerate(table, start=1)]


def as_csv(rows: list[Submission]) -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, list(Submission.model_fields), lineterminator="\n")
    table.writeheader()
    table.writerows(row.model_dump() for row in rows)
    return text.getvalue()


def earlier(rows: list[Submission], sha256: str) -> Submission | None:
    """The row of the same file, unless Kaggle refused it."""
    return next((row for row in rows if row.sha256 == sha256 and row.status != "error"), None)


def settled(rows: list[Submission], listing: list[Listed]) -> list[Submission]:
    """The rows with what Kaggle says of those that were pending; one that was just sent has no number yet."""
    others = {row.ref for row in rows} - {None}
    found = []
    for row in rows:
        for one in listing if row.status == "pending" else []:
            if one.ref == row.ref or (row.ref is None and one.ref not in others and one.of(row.sha256)):
                said = {"ref": one.ref, "status": one.status, "public_score": one.public_score}
                found.append(row.model_copy(update=said))
                break
        else:
            found.append(row)
    return found
