"""What was submitted: a row each with its out-of-fold estimate and public score, and how far the two are apart.

The table is leaderboard/submissions.csv; leaderboard/metrics.json sums it up.
"""

import csv
import io
import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

from pipeline.contracts import InputError, validated, write_text
from pipeline.kaggle.validate import TEST_ROWS
from pipeline.spreadsheet import as_it_was, inert

TABLE = Path("leaderboard/submissions.csv")
METRICS = Path("leaderboard/metrics.json")

EMPTY = BeforeValidator(lambda value: None if value == "" else value)
Number = Annotated[float | None, EMPTY]


class Submission(BaseModel):
    """A row of the table. The estimate is the accuracy to expect on these tweets, with the ends of its interval.

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
    ref: Annotated[int | None, EMPTY]
    """Kaggle's number for it."""


def read_rows(path: Path = TABLE) -> list[Submission]:
    """The table, oldest first; empty if there is none yet."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        table = csv.DictReader(file)
        if {*(table.fieldnames or []), "nested_estimate"} != {*Submission.model_fields}:
            raise InputError(f"{path}: its columns are not {','.join(Submission.model_fields)}")
        rows = [validated(Submission, row, f"{path}: row {number}") for number, row in enumerate(table, start=1)]
    return [row.model_copy(update={"message": as_it_was(row.message)}) for row in rows]


def as_csv(rows: list[Submission]) -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, list(Submission.model_fields), lineterminator="\n")
    table.writeheader()
    table.writerows(row.model_dump() | {"message": inert(row.message)} for row in rows)  # a teammate's, perhaps
    return text.getvalue()


def save(rows: list[Submission]) -> None:
    write_text(TABLE, as_csv(rows))
    write_text(METRICS, json.dumps(summary(rows), indent=2) + "\n")


def noise(score: float, rows: int = TEST_ROWS) -> float:
    """Half the width of the 95 % interval of a score on so many tweets, by chance."""
    return 1.96 * math.sqrt(max(0.0, score * (1 - score)) / rows)


def judged(row: Submission) -> dict[str, Any] | None:
    """The estimate, the public score, their difference and how much of it may be chance (95 %, of both); None without a score."""
    if row.public_score is None:
        return None
    low, high = row.estimate_low, row.estimate_high
    doubt = 0.0 if low is None or high is None else (high - low) / 2
    names = {"classifier", "estimate", "estimate_low", "estimate_high", "nested_estimate", "public_score"}
    chance = math.hypot(noise(row.public_score), doubt)
    return row.model_dump(include=names) | {"difference": row.public_score - row.estimate, "chance": chance}


def summary(rows: list[Submission]) -> dict[str, Any]:
    """The last and the best of those that have a score, and by how much the scores differ from the estimates."""
    scored = [one for row in rows if (one := judged(row))]
    found: dict[str, Any] = {"submissions": len(rows), "scored": len(scored)}
    if scored:
        found["latest"] = scored[-1]
        found["best"] = max(scored, key=lambda one: float(one["public_score"]))
        found["mean_difference"] = sum(one["difference"] for one in scored) / len(scored)
        found["beyond_chance"] = sum(abs(one["difference"]) > one["chance"] for one in scored)
    return found
