"""What Kaggle is asked about submissions: those it has, how many more it takes today, and to take one.

A submission's description begins with the first digits of its file's hash: so it is known again in Kaggle's list, whoever
sent it and whatever became of the command that did.
"""

import json
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field
from tqdm import tqdm

from pipeline.contracts import InputError, validated
from pipeline.kaggle.command import kaggle
from pipeline.kaggle.failures import UPLOAD_FAILED, PassingError, explain

TAG = 12
"""Digits of the hash."""
FIRST_WAIT, LONGEST_WAIT, GROWTH = 1.0, 30.0, 1.5
"""Seconds between two looks at a pending submission: they grow by the factor."""


class Listed(BaseModel):
    """A submission as Kaggle lists it."""

    ref: int
    date: str
    description: str
    status: Literal["pending", "complete", "error"]
    public_score: float | None

    def of(self, sha256: str) -> bool:
        """Whether it is the file with this hash."""
        return self.description.startswith(sha256[:TAG])


class Limits(BaseModel):
    """How many submissions Kaggle has counted, and how many more it takes now (UTC day)."""

    today: int = Field(alias="numToday", default=0)
    total: int = Field(alias="numTotal", default=0)
    left: int = Field(alias="numAllowedNow", default=0)
    for_good: bool = Field(alias="limitedByTotal", default=False)


def printed_json(output: str, opening: str) -> Any:
    """The JSON value in what the kaggle command printed, which may begin with warnings of its own."""
    lines = output.splitlines()
    try:
        return json.loads("\n".join(lines[lines.index(opening) :]))
    except ValueError:
        raise InputError("what the kaggle command printed cannot be read; is it another version?") from None


def listed(competition: str) -> list[Listed]:
    """The last hundred submissions, newest first."""
    output = kaggle(competition, "submissions", "--page-size", "100", "--format", "json")
    if "No submissions found" in output:
        return []
    return [
        validated(
            Listed,
            {
                "ref": one["ref"],
                "date": one["date"],
                "description": one["description"] or "",
                "status": str(one["status"]).rpartition(".")[2].lower(),
                "public_score": one["publicScore"] or None,
            },
            "Kaggle's list of submissions",
        )
        for one in printed_json(output, "[")
    ]


def used_up(limits: Limits, now: datetime) -> str | None:
    """Why Kaggle takes no more, and until when; None if it does. All counts of someone who never submitted are zero."""
    if limits.left > 0 or limits.today + limits.total == 0:
        return None
    if limits.for_good:
        return f"Kaggle takes no more: {limits.total} submissions are all that the competition allows"
    free = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    minutes = int((free - now).total_seconds()) // 60
    return (
        f"today's submissions are used up ({limits.today}): "
        f"there are new ones at 00:00 UTC, in {minutes // 60} h {minutes % 60:02} min"
    )


def check_limit(competition: str) -> None:
    """`InputError` if today's submissions are used up; Kaggle refuses by itself where it does not say."""
    try:
        limits = validated(
            Limits, printed_json(kaggle(competition, "submission-limits", "--json"), "{"), "what Kaggle says"
        )
    except PassingError:
        raise
    except InputError as error:
        print(f"kaggle: how many submissions are left today is not known: {error}", file=sys.stderr)
        return
    if why := used_up(limits, datetime.now(UTC)):
        raise InputError(why)


def send(competition: str, content: bytes, message: str, sha256: str) -> None:
    """Upload the file: these bytes, which were checked, and not what has become of it meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "submission.csv"
        path.write_bytes(content)
        output = kaggle(competition, "submit", "-f", str(path), f"--message={sha256[:TAG]} {message}")
    if UPLOAD_FAILED in output:  # it ends as if all was well
        raise explain(output, competition)


def wait(competition: str, sha256: str, refused: set[int | None], minutes: float) -> Listed:
    """The submission of the file when Kaggle has scored or refused it; not one of those that it `refused` before."""
    pause, end = FIRST_WAIT, time.monotonic() + 60 * minutes
    with tqdm(total=round(60 * minutes), desc="waiting for the score", unit="s") as bar:
        while True:
            why = "Kaggle has not scored it yet"
            try:
                found = next((one for one in listed(competition) if one.of(sha256) and one.ref not in refused), None)
                if found and found.status != "pending":
                    return found
            except PassingError as error:
                why = str(error)
            if time.monotonic() + pause > end:
                raise InputError(f"{why}; run the command again later: it fetches the score and sends nothing")
            time.sleep(pause)
            bar.update(round(pause))
            pause = min(pause * GROWTH, LONGEST_WAIT)
