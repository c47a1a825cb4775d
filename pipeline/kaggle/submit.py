"""Submit the csv to Kaggle, wait for its public score and write that beside the out-of-fold estimate.

A file that was sent before is not sent again: its score is fetched if it has none yet. Never part of `dvc repro`.

in:  submission/submission.csv, submission/choice.json, data/prepared, data/kaggle/test.csv if it is there
out: leaderboard/submissions.csv (commit it), leaderboard/metrics.json
run: python -m pipeline.kaggle.submit --message "what is new in it"   (--dry-run checks it and sends nothing)
"""

import argparse
import hashlib
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ValidationError
from tqdm import tqdm

from pipeline.contracts import InputError, first_fault, read_prepared, reason
from pipeline.kaggle.client import COMPETITION, PassingError, client, only_one, without_tokens
from pipeline.kaggle.record import TABLE, Submission, judged, read_rows, save
from pipeline.kaggle.validate import TEST_ROWS, check_file, check_share
from pipeline.process import run

FOLDER = Path("submission")
TEST = Path("data/kaggle/test.csv")
TAG = 12
"""Digits of the file's hash, which a submission's description begins with: by them Kaggle's list tells what was sent."""
FIRST_WAIT, LONGEST_WAIT, GROWTH = 1.0, 30.0, 1.5
"""Seconds between two looks at a pending submission: they grow by the factor."""


class Chosen(BaseModel):
    """What the stage submission says of its csv: the part of choice.json that is needed here."""

    classifier: str
    threshold: float
    rows: int
    accuracy: float
    accuracy_low: float | None
    accuracy_high: float | None
    nested_accuracy: float
    expected_accuracy: float
    """Of these tweets, some of which have near-duplicates whose labels are known."""
    expected_low: float | None
    expected_high: float | None
    share_of_positives: float
    share_of_positives_out_of_fold: float
    sha256: str

    def __str__(self) -> str:
        ends = "" if self.accuracy_low is None else f" [{self.accuracy_low:.4f}, {self.accuracy_high:.4f}]"
        return (
            f"{self.classifier} at {self.threshold:.3f}, out-of-fold accuracy {self.accuracy:.4f}{ends}, nested "
            f"{self.nested_accuracy:.4f}, expected here {self.expected_accuracy:.4f}"
        )

    def row(self, date: str, message: str, ref: int) -> Submission:
        """Its row in the table before Kaggle has scored it."""
        return Submission(
            date=date,
            message=message,
            estimate=self.expected_accuracy,
            estimate_low=self.expected_low,
            estimate_high=self.expected_high,
            nested_estimate=self.nested_accuracy,
            status="pending",
            public_score=None,
            ref=ref,
            **self.model_dump(include={"sha256", "classifier", "threshold", "share_of_positives"}),
        )


class Choice(BaseModel):
    chosen: Chosen


class Listed(BaseModel):
    """A submission as Kaggle lists it."""

    ref: int
    date: str
    description: str
    status: Literal["pending", "complete", "error"]
    public_score: float | None


# --- before it is sent ------------------------------------------------------------------------------------------------


def read_submission() -> tuple[bytes, Chosen]:
    """The csv, and what is known of it."""
    try:
        content = (FOLDER / "submission.csv").read_bytes()
        chosen = Choice.model_validate_json((FOLDER / "choice.json").read_bytes()).chosen
    except OSError as error:
        raise InputError(f"{error.filename}: no such file; run `dvc repro submission` first") from None
    except ValidationError as error:
        raise InputError(f"{FOLDER}/choice.json: {first_fault(error)}; run `dvc repro submission` again") from None
    if hashlib.sha256(content).hexdigest() != chosen.sha256:
        raise InputError(
            f"{FOLDER}/submission.csv: not the file that choice.json is about; run `dvc repro submission` again"
        )
    return content, chosen


def competition_ids(test: pd.DataFrame) -> list[int]:
    """The ids of the competition's test tweets; `InputError` if the prepared ones are others."""
    ids: list[int] = test["id"].tolist()
    try:
        there = pd.read_csv(TEST, usecols=["id"])["id"].tolist() if TEST.is_file() else None
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise InputError(
            f"{TEST}: not the competition's: {reason(error)}; python -m pipeline.kaggle.download"
        ) from None
    if ids != there if there else len(ids) != TEST_ROWS:
        raise InputError(
            f"data/prepared: {len(ids):,} test tweets that are not the {len(there) if there else TEST_ROWS:,} of the "
            "competition; run `python -m pipeline.apply data.source=data/kaggle`, then `make repro`"
        )
    return ids


# --- sending, and waiting for the score -------------------------------------------------------------------------------


def listed(competition: str) -> list[Listed]:
    """The last hundred submissions, newest first."""
    with client(competition) as api:
        found = api.competition_submissions(competition, page_size=100) or []
    return [
        Listed(
            ref=one.ref,
            date=f"{one.date:%Y-%m-%d %H:%M}",
            description=one.description or "",
            status=one.status.name.lower(),
            public_score=one.public_score or None,
        )
        for one in found
    ]


def settled(rows: list[Submission], listing: list[Listed]) -> list[Submission]:
    """The rows with what Kaggle says, by its number, of those that were pending."""
    said: dict[int | None, Any] = {one.ref: one.model_dump(include={"status", "public_score"}) for one in listing}
    return [row.model_copy(update=said.get(row.ref, {}) if row.status == "pending" else {}) for row in rows]


def latest(rows: list[Submission], sha256: str) -> Submission | None:
    """The last row of the file; None if it was never sent, or if Kaggle refused it."""
    return next((row for row in reversed(rows) if row.sha256 == sha256 and row.status != "error"), None)


def begun(chosen: Chosen, listing: list[Listed]) -> Submission | None:
    """The row of the file if Kaggle has it already, sent by a teammate or by a command that was killed."""
    for one in listing:
        if one.description.startswith(chosen.sha256[:TAG]) and one.status != "error":
            print(f"Kaggle has this very file since {one.date}; it is not sent again")
            return chosen.row(one.date, one.description[TAG:].strip(), one.ref)
    return None


def sent(content: bytes, chosen: Chosen, competition: str, message: str) -> Submission:
    """The row of the file, uploaded: these bytes, which were checked, and not what has become of it meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "submission.csv"
        path.write_bytes(content)
        with client(competition) as api:
            reply = api.competition_submit(str(path), f"{chosen.sha256[:TAG]} {message}", competition)
    if not reply.ref:
        raise PassingError("Kaggle did not take the upload; run again in some minutes")
    print("sent; now Kaggle scores it")
    return chosen.row(datetime.now(UTC).isoformat(timespec="seconds"), message, reply.ref)


def submit(content: bytes, chosen: Chosen, competition: str, message: str, minutes: float) -> Submission:
    """The row of the file when Kaggle has scored or refused it: sent now, or earlier from here or from elsewhere."""
    rows = read_rows()
    if row := latest(rows, chosen.sha256):
        print(f"this very file was submitted on {row.date}; it is not sent again")
        if row.status == "complete":
            return row
    listing = listed(competition)
    rows = settled(rows, listing)
    if row is None:
        rows.append(begun(chosen, listing) or sent(content, chosen, competition, message))
        save(rows)  # whatever happens from here on, it is known that it was sent
    place = max(place for place, one in enumerate(rows) if one.sha256 == chosen.sha256)
    pause, end, why = FIRST_WAIT, time.monotonic() + 60 * minutes, "Kaggle has not scored it yet"
    with tqdm(total=round(60 * minutes), desc="waiting for the score", unit="s") as bar:
        while rows[place].status == "pending":
            try:
                rows = settled(rows, listed(competition))
            except PassingError as error:
                why = str(error)
            if rows[place].status == "pending":
                if time.monotonic() + pause > end:
                    raise InputError(f"{why}; run the command again later: it fetches the score and sends nothing")
                time.sleep(pause)
                bar.update(round(pause))
                pause = min(pause * GROWTH, LONGEST_WAIT)
    save(rows)
    return rows[place]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--message", default="", help="what Kaggle shows beside it; the classifier and its estimate if none"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="check the file, and neither ask Kaggle nor send anything"
    )
    parser.add_argument("--anyway", action="store_true", help="send it whatever its share of positives is")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to wait for the score")
    parser.add_argument("--competition", default=COMPETITION, help="its name, if Kaggle has given it another")
    given = parser.parse_args()
    prepared = read_prepared()
    content, chosen = read_submission()
    message = " ".join(given.message.split()) or str(chosen)
    if without_tokens(message) != message:
        raise InputError("--message: holds something that looks like a token; everyone on the team would see it")
    with only_one("submission"):
        targets = check_file(content, competition_ids(prepared.test))
        labels = float(prepared.train["target"].mean())
        if not given.anyway:
            check_share(targets, chosen.share_of_positives_out_of_fold, chosen.rows, labels)
        print(
            f"{FOLDER}/submission.csv: {len(targets):,} rows, {chosen.share_of_positives:.1%} positive (out-of-fold "
            f"{chosen.share_of_positives_out_of_fold:.1%}, labels {labels:.1%}); {chosen}"
        )
        if given.dry_run:
            before = latest(read_rows(), chosen.sha256)
            print(f"nothing sent: {f'it was submitted on {before.date}' if before else 'all is well with it'}")
            return
        row = submit(content, chosen, given.competition, message, given.minutes)
    found = judged(row)
    if not found:
        raise InputError(f"Kaggle could not score it; see why at kaggle.com/c/{given.competition}/submissions")
    nested = "" if row.nested_estimate is None else f" (nested {row.nested_estimate:.4f})"
    print(
        f"public score {found['public_score']:.5f}, {100 * found['difference']:+.2f} points from the estimate "
        f"{row.estimate:.4f}{nested}, where ±{100 * found['chance']:.2f} may be chance; it is in {TABLE}"
    )


if __name__ == "__main__":
    run(main)
