"""Submit the csv to Kaggle, wait for its public score and write that beside the out-of-fold estimate.

A file that was sent before is not sent again: its score is fetched if it has none yet. Never part of `dvc repro`.

in:  submission/submission.csv, submission/choice.json, data/prepared, data/kaggle/test.csv if it is there
out: leaderboard/submissions.csv (commit it), leaderboard/metrics.json, leaderboard/scatter.svg
run: python -m pipeline.kaggle.submit --message "what is new in it"   (--dry-run checks it and sends nothing)
"""

import argparse
from datetime import UTC, datetime

from pipeline.contracts import InputError, read_prepared
from pipeline.kaggle.chosen import FOLDER, Chosen, checked, read_submission
from pipeline.kaggle.command import only_one
from pipeline.kaggle.credentials import holds_secret
from pipeline.kaggle.failures import COMPETITION
from pipeline.kaggle.leaderboard import save, verdict
from pipeline.kaggle.record import TABLE, Submission, earlier, read_rows, settled
from pipeline.kaggle.submissions import TAG, Listed, check_limit, listed, send, wait
from pipeline.process import run


def row_of(chosen: Chosen, date: str, message: str, ref: int | None) -> Submission:
    """Its row in the table before Kaggle has scored it."""
    return Submission(
        date=date,
        sha256=chosen.sha256,
        message=message,
        classifier=chosen.classifier,
        threshold=chosen.threshold,
        estimate=chosen.accuracy,
        estimate_low=chosen.accuracy_low,
        estimate_high=chosen.accuracy_high,
        nested_estimate=chosen.nested_accuracy,
        share_of_positives=chosen.share_of_positives,
        status="pending",
        public_score=None,
        ref=ref,
    )


def submit(content: bytes, chosen: Chosen, competition: str, message: str, minutes: float) -> Submission:
    """The row of the file when Kaggle has scored or refused it: sent now, or earlier from here or from elsewhere."""
    rows, sha256 = read_rows(), chosen.sha256
    row = earlier(rows, sha256)
    if row:
        print(f"this very file was submitted on {row.date}; it is not sent again")
    if row is None or row.status == "pending":
        listing = listed(competition)
        rows = settled(rows, listing)
        refused = {one.ref for one in rows if one.status == "error"}
        if row is None:
            rows.append(from_elsewhere(chosen, listing, refused) or sent(content, chosen, competition, message))
            save(rows)  # whatever happens from here on, it is known that it was sent
        if last(rows, sha256).status == "pending":
            rows = settled(rows, [wait(competition, sha256, refused, minutes)])
        save(rows)
    return last(rows, sha256)


def last(rows: list[Submission], sha256: str) -> Submission:
    return next(row for row in reversed(rows) if row.sha256 == sha256)


def from_elsewhere(chosen: Chosen, listing: list[Listed], refused: set[int | None]) -> Submission | None:
    """The row of the file if Kaggle has it already, sent by a teammate or by a command that was killed."""
    for one in listing:
        if one.of(chosen.sha256) and one.status != "error" and one.ref not in refused:
            print(f"Kaggle has this very file since {one.date}; it is not sent again")
            return row_of(chosen, one.date, one.description[TAG:].strip(), one.ref)
    return None


def sent(content: bytes, chosen: Chosen, competition: str, message: str) -> Submission:
    check_limit(competition)
    send(competition, content, message, chosen.sha256)
    print("sent; now Kaggle scores it")
    return row_of(chosen, datetime.now(UTC).isoformat(timespec="seconds"), message, None)


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
    if holds_secret(message):
        raise InputError("--message: holds something that looks like a token; everyone on the team would see it")
    with only_one("submission"):
        targets = checked(content, chosen, prepared, anyway=given.anyway)
        print(
            f"{FOLDER}/submission.csv: {len(targets):,} rows, {chosen.share_of_positives:.1%} positive (out-of-fold "
            f"{chosen.share_of_positives_out_of_fold:.1%}, labels {prepared.train['target'].mean():.1%}); {chosen}"
        )
        if given.dry_run:
            before = earlier(read_rows(), chosen.sha256)
            print(f"nothing sent: {f'it was submitted on {before.date}' if before else 'all is well with it'}")
            return
        row = submit(content, chosen, given.competition, message, given.minutes)
    found = verdict(row)
    if not found:
        raise InputError(f"Kaggle could not score it; see why at kaggle.com/c/{given.competition}/submissions")
    nested = "" if row.nested_estimate is None else f" (nested {row.nested_estimate:.4f})"
    print(
        f"public score {found['public_score']:.5f}, {100 * found['difference']:+.2f} points from the estimate "
        f"{row.estimate:.4f}{nested}, where ±{100 * found['chance']:.2f} may be chance; it is in {TABLE}"
    )


if __name__ == "__main__":
    run(main)
