"""Submissions by the real kaggle command line to a server on this machine, and what is checked before."""

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from kaggle_server import TOKEN, Kaggle, Ran, at_home, run_here, serving

from pipeline.contracts import InputError, read_yaml
from pipeline.kaggle import submit as stage
from pipeline.kaggle.client import only_one
from pipeline.kaggle.record import Submission, as_csv, noise, read_rows, summary
from pipeline.kaggle.submit import main
from pipeline.kaggle.validate import check_file, check_share

IDS = list(range(0, 400, 2))
TRUTH = (np.random.default_rng(0).random(200) < 0.4).astype(int)


def prepared(ids: Iterable[int]) -> pd.DataFrame:
    """Prepared tweets of which only the ids matter."""
    return pd.DataFrame({"id": ids}).assign(keyword=None, location=None, text="a", raw_text="a", group=0)


def decide(*, wrong: int) -> Path:
    """A csv with so many wrong decisions, and the rest of what the stage submission leaves."""
    targets = np.where(np.arange(200) < wrong, 1 - TRUTH, TRUTH)
    path = Path("submission/submission.csv")
    path.parent.mkdir(exist_ok=True)
    path.write_text("id,target\n" + "".join(f"{one},{target}\n" for one, target in zip(IDS, targets, strict=True)))
    ends = {"accuracy": 0.8, "accuracy_low": 0.77, "accuracy_high": 0.83, "nested_accuracy": 0.79}
    expected = {"expected_accuracy": 0.8, "expected_low": 0.77, "expected_high": 0.83}
    chosen = {"classifier": "logistic", "threshold": 0.5, "rows": 800, "why": "it is the best"} | ends | expected
    shares = {"share_of_positives": float(targets.mean()), "share_of_positives_out_of_fold": 0.4}
    Path("submission/choice.json").write_text(json.dumps({"chosen": chosen | shares}))
    rechosen()
    return path


def rechosen(**changed: object) -> None:
    path = Path("submission/choice.json")
    chosen = json.loads(path.read_text())["chosen"]
    chosen["sha256"] = hashlib.sha256(Path("submission/submission.csv").read_bytes()).hexdigest()
    path.write_text(json.dumps({"chosen": chosen | changed}))


@pytest.fixture
def kaggle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Kaggle]:
    """A server, and here what it takes to submit to it: 200 test tweets, of which 170 are decided rightly."""
    with serving() as server:
        at_home(monkeypatch, tmp_path, server.environment)
        server.truth = dict(zip(IDS, TRUTH.tolist(), strict=True))
        for folder in ("data/prepared", "data/kaggle"):
            Path(folder).mkdir(parents=True)
        pd.DataFrame({"id": IDS, "text": "a"}).to_csv("data/kaggle/test.csv", index=False)
        prepared(IDS).to_parquet("data/prepared/test.parquet")
        train = prepared(range(1, 1600, 2)).assign(target=[0, 1] * 400, train_target=[0, 1] * 400, fold=0)
        train.to_parquet("data/prepared/train.parquet")
        decide(wrong=30)
        monkeypatch.setattr(stage, "FIRST_WAIT", 0.1)
        yield server


@pytest.fixture
def submit(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Ran:
    return run_here(main, monkeypatch, capfd)


def table() -> list[dict[str, str]]:
    with Path("leaderboard/submissions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def metrics() -> dict[str, Any]:
    return json.loads(Path("leaderboard/metrics.json").read_text())


def test_a_file_is_sent_once_and_its_score_written_beside_the_estimate(submit: Ran, kaggle: Kaggle) -> None:
    said = submit("--message", '- the first, "plain" one')
    assert "public score 0.85000, +5.00 points from the estimate 0.8000" in said
    (row,) = table()
    assert row["sha256"] == hashlib.sha256(Path("submission/submission.csv").read_bytes()).hexdigest()
    assert (row["status"], row["public_score"], row["ref"]) == ("complete", "0.85", "1000")
    assert (row["classifier"], row["estimate"], row["estimate_low"]) == ("logistic", "0.8", "0.77")
    assert row["message"] == '\'- the first, "plain" one', "a formula, for a spreadsheet"
    assert kaggle.submissions[0]["description"] == f"{row['sha256'][:12]} {row['message'][1:]}"
    assert metrics()["latest"]["difference"] == pytest.approx(0.05)
    assert TOKEN not in said + "".join(path.read_text() for path in Path("leaderboard").iterdir())

    kaggle.requests.clear()
    assert "it is not sent again" in submit("--message", "the same once more")
    assert not kaggle.requests
    assert len(table()) == 1

    decide(wrong=60)
    rechosen(expected_accuracy=0.81, expected_low=0.78, expected_high=0.84)
    assert "public score 0.70000, -11.00 points from the estimate 0.8100 (nested 0.7900)" in submit()
    assert (table()[1]["nested_estimate"], metrics()["latest"]["nested_estimate"]) == ("0.79", 0.79)
    assert [row["public_score"] for row in table()] == ["0.85", "0.7"]
    said = "logistic at 0.500, out-of-fold accuracy 0.8000 [0.7700, 0.8300], nested 0.7900, expected here 0.8100"
    assert table()[1]["message"] == said
    assert (metrics()["best"]["public_score"], metrics()["latest"]["public_score"]) == (0.85, 0.7)
    assert metrics()["mean_difference"] == pytest.approx(-0.03)


def test_a_dry_run_asks_nobody_and_writes_nothing(submit: Ran, kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    said = submit("--dry-run")
    assert "200 rows" in said
    assert "nothing sent: all is well" in said
    assert not kaggle.requests
    assert not Path("leaderboard").exists()


def test_a_score_that_takes_long_is_fetched_by_the_next_call(submit: Ran, kaggle: Kaggle) -> None:
    kaggle.listings_pending = 3
    with pytest.raises(InputError, match="not scored it yet; run the command again later"):
        submit("--message", "slow", "--minutes", "0.001")
    assert [row["status"] for row in table()] == ["pending"]
    assert metrics() == {"submissions": 1, "scored": 0}
    assert "it is not sent again" in submit("--message", "slow")
    assert [row["public_score"] for row in table()] == ["0.85"]
    assert len(kaggle.submissions) == 1


def test_what_was_sent_from_elsewhere_is_not_sent_again(submit: Ran, kaggle: Kaggle) -> None:
    """Such as by a command that was killed between sending the file and writing that down."""
    content = Path("submission/submission.csv").read_bytes()
    kaggle.submit(b"id,target\n0,1\n", "without our mark")
    kaggle.submit(content, f"{hashlib.sha256(content).hexdigest()[:12]} by a colleague")
    said = submit("--message", "mine")
    assert "Kaggle has this very file since 2026-11-23" in said
    assert [(row["message"], row["ref"], row["public_score"]) for row in table()] == [
        ("by a colleague", "1001", "0.85")
    ]
    assert len(kaggle.submissions) == 2


def test_the_daily_limit_is_respected(submit: Ran, kaggle: Kaggle) -> None:
    kaggle.allowed = 0
    with pytest.raises(InputError, match="used its daily Submission allowance"):
        submit()
    assert not Path("leaderboard").exists()


@pytest.mark.slow
def test_a_failed_upload_is_no_submission(submit: Ran, kaggle: Kaggle) -> None:
    kaggle.refusals["PUT"] = (503, b"", "text/html")
    with pytest.raises(InputError, match="Kaggle did not take the upload"):
        submit()
    del kaggle.refusals["PUT"]
    kaggle.refusals["CreateSubmission"] = (403, b"", "text/html")
    with pytest.raises(InputError, match="are the rules accepted"):
        submit()
    assert not kaggle.submissions
    assert not Path("leaderboard").exists()
    del kaggle.refusals["CreateSubmission"]
    submit()
    assert len(kaggle.submissions) == 1


@pytest.mark.slow
def test_what_kaggle_cannot_score_may_be_sent_again(submit: Ran, kaggle: Kaggle) -> None:
    kaggle.truth[1] = 1  # it wants a row more
    with pytest.raises(InputError, match="Kaggle could not score it; see why at "):
        submit()
    assert [row["status"] for row in table()] == ["error"]
    del kaggle.truth[1]
    submit()
    assert [(row["status"], row["ref"]) for row in table()] == [("error", "1000"), ("complete", "1001")]


def test_only_what_the_stage_wrote_for_this_competition_is_sent(submit: Ran, kaggle: Kaggle) -> None:
    assert "nothing sent" in submit("--dry-run", "--message", "Basic features only, see https://x.org/pull?id=3")
    for token in (TOKEN, "KGAT_0123456789abcdef", "0123456789abcdef" * 2):
        with pytest.raises(InputError, match="--message: holds something that looks like a token"):
            submit("--dry-run", "--message", f"with {token}")

    path = Path("submission/submission.csv")
    path.write_text(path.read_text().replace("0,1", "0,0", 1).replace("2,1", "2,0", 1) + "\n")
    with pytest.raises(InputError, match=r"not the file that choice\.json is about"):
        submit()
    rechosen()
    with pytest.raises(InputError, match="line 202: '' is not an integer id"):
        submit("--dry-run")

    prepared(IDS[:-1]).to_parquet("data/prepared/test.parquet")
    with pytest.raises(InputError, match="199 test tweets that are not the 200 of the competition"):
        submit("--dry-run")
    Path("data/kaggle/test.csv").write_text("")
    with pytest.raises(InputError, match=r"data/kaggle/test\.csv: not the competition's"):
        submit("--dry-run")
    Path("data/kaggle/test.csv").unlink()
    with pytest.raises(InputError, match="199 test tweets that are not the 3,263 of the competition"):
        submit("--dry-run")
    path.unlink()
    with pytest.raises(InputError, match=r"submission\.csv: no such file; run `dvc repro submission`"):
        submit()
    assert not kaggle.requests


def test_an_absurd_share_of_positives_is_sent_only_if_that_is_meant(submit: Ran, kaggle: Kaggle) -> None:
    path = Path("submission/submission.csv")
    path.write_text("id,target\n" + "".join(f"{one},0\n" for one in IDS))
    rechosen(share_of_positives=0.0)
    with pytest.raises(InputError, match="every target is 0; --anyway"):
        submit()
    assert not kaggle.requests
    assert "0.0% positive" in submit("--anyway", "--dry-run")


def test_two_at_once_are_one(submit: Ran, kaggle: Kaggle) -> None:
    with only_one("submission"), pytest.raises(InputError, match="another submission is running"):
        submit()
    assert not kaggle.requests


def test_no_stage_sends_or_fetches_anything() -> None:
    stages = read_yaml(ROOT / "dvc.yaml")["stages"].values()
    assert not [stage for stage in stages if "pipeline.kaggle" in stage.get("do", stage)["cmd"]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id,target\n1,0\n2,1\n-3,1\n", None),
        (b"id,target\n2,1\n1,0\n-3,1\n", "line 2: id 2 is out of order; 1 belongs here"),
        (b"id,target\n1,0\n1,0\n-3,1\n", "line 3: id 1 is there twice"),
        (b"id,target\n1,0\n2,0\n3,1\n", "line 4: id 3 is no test tweet's"),
        (b"id,target\n1,0\n", "1 rows, but there are 3 test tweets"),
        (b"id,target\n1,0\n2,2\n-3,1\n", "line 3: '2,2' is not an integer id and a 0 or 1"),
        (b"id,target\n1,0.0\n2,1.0\n-3,1\n", "line 2: '1,0.0'"),
        (b"id,target\n1,\n2,1\n-3,1\n", "line 2: '1,'"),
        (b'id,target\n"1",0\n2,1\n-3,1\n', "line 2"),
        (b"id,target\n\n1,0\n2,1\n-3,1\n", "line 2: ''"),
        (b"id, target\n1,0\n2,1\n-3,1\n", "line 1: the header is 'id, target', not id,target"),
        (b"target,id\n0,1\n1,2\n1,-3\n", "line 1: the header is 'target,id'"),
        (b"1,0\n2,1\n-3,1\n", "line 1: the header is '1,0'"),
        (b"", "line 1: the header is ''"),
        (b"\xef\xbb\xbfid,target\n1,0\n2,1\n-3,1\n", "begins with a byte-order mark"),
        ("id,target\n1,0\n".encode("utf-16"), "begins with a byte-order mark"),
        ("id,target\n1,0\n2,١\n".encode(), "line 3: byte 0xd9 is not ASCII"),
        (b"id,target\r\n1,0\r\n2,1\r\n-3,1\r\n", "line 1: ends like a line of Windows"),
        (b"id,target\n1,0\n2,1\n-3,1", "must end with a line break"),
        (b"id,target\n1,0\n2,1\n-3,1\n\n", "line 5: ''"),
    ],
)
def test_a_file_is_checked_to_the_byte(content: bytes, message: str | None) -> None:
    if message is None:
        assert check_file(content, [1, 2, -3]) == [0, 1, 1]
    else:
        with pytest.raises(InputError) as raised:
            check_file(content, [1, 2, -3])
        assert message in str(raised.value)


def test_a_share_is_judged_by_what_chance_allows() -> None:
    decisions = [1] * 1222 + [0] * 2041  # 37.5 % of the competition's test tweets
    check_share(decisions, 0.383, 7613, 0.43)
    with pytest.raises(InputError, match="standard errors apart; --anyway"):
        check_share(decisions, 0.30, 7613, 0.43)
    few = [1] * 8 + [0] * 12
    check_share(few, 0.30, 80, 0.43)


def row(sha256: str, *, status: str = "pending", score: float | None = None, ref: int | None = None) -> Submission:
    estimates = {"estimate": 0.84, "estimate_low": 0.83, "estimate_high": 0.85, "share_of_positives": 0.37}
    told = {"date": "2026-11-23T08:00:00+00:00", "message": 'a, "b"\nc', "classifier": "blend", "threshold": 0.5}
    return Submission(sha256=sha256, status=status, public_score=score, ref=ref, **estimates, **told)


def test_a_table_is_read_as_it_was_written_and_a_wrong_cell_is_named(tmp_path: Path) -> None:
    rows = [row("a" * 64, status="complete", score=0.83, ref=3), row("b" * 64)]
    path = tmp_path / "submissions.csv"
    path.write_text(as_csv(rows), newline="")
    assert read_rows(path) == rows
    path.write_text(as_csv(rows).replace("0.84", "much"), newline="")
    with pytest.raises(InputError, match=r"submissions\.csv: row 1\.estimate"):
        read_rows(path)
    before = pd.DataFrame([one.model_dump() for one in rows]).drop(columns="nested_estimate")
    before.to_csv(path, index=False)
    assert read_rows(path) == rows, "nested estimates came later"
    path.write_text("date,score\n")
    with pytest.raises(InputError, match="its columns are not date,sha256"):
        read_rows(path)
    assert read_rows(tmp_path / "none.csv") == []


def test_the_figures_of_no_submissions_and_of_many() -> None:
    assert 100 * noise(0.84) == pytest.approx(1.26, abs=0.005)
    assert summary([]) == {"submissions": 0, "scored": 0}
    rows = [row(name * 64, status="complete", score=score, ref=1) for name, score in (("a", 0.835), ("b", 0.80))]
    found = summary([*rows, row("c" * 64)])
    assert (found["submissions"], found["scored"], found["beyond_chance"]) == (3, 2, 1)
    assert found["best"]["public_score"] == 0.835
    assert found["latest"]["chance"] == pytest.approx(np.hypot(noise(0.80), 0.01))
