"""Downloads by the real kaggle command line from a server on this machine."""

import errno
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import Command, one_line_error
from kaggle_server import KEY, TOKEN, Kaggle, Ran, archive, at_home, run_here, serving

from pipeline.contracts import InputError
from pipeline.kaggle.client import NO_TOKEN, PassingError, explained, without_tokens
from pipeline.kaggle.download import main

TRAIN, TEST = b"id,keyword,location,text,target\n1,,,a,1\n", b"id,keyword,location,text\n2,,,b\n"
FILES = {"train.csv": TRAIN, "test.csv": TEST}
ARCHIVE = "nlp-getting-started.zip"


@pytest.fixture
def kaggle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Kaggle]:
    with serving() as server:
        server.files[ARCHIVE] = archive(FILES)
        at_home(monkeypatch, tmp_path, server.environment)
        yield server


@pytest.fixture
def download(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Ran:
    return run_here(main, monkeypatch, capfd)


def have_arrived() -> bool:
    return all(Path("data/kaggle", name).read_bytes() == content for name, content in FILES.items())


def test_the_files_arrive_once_with_checksums(download: Ran, kaggle: Kaggle) -> None:
    said = download()
    assert have_arrived()
    recorded = json.loads(Path("data/kaggle/checksums.json").read_text())
    assert recorded["files"]["train.csv"]["bytes"] == len(TRAIN)
    assert recorded["files"]["train.csv"]["sha256"] in said
    assert "next: python -m pipeline.apply data.source=data/kaggle; make repro" in said

    kaggle.requests.clear()
    assert "unchanged since it was fetched" in download()
    assert not kaggle.requests

    Path("data/kaggle/test.csv").write_bytes(b"something else")
    assert "test.csv not as fetched" in download()
    assert have_arrived()
    assert kaggle.requests.count("DownloadDataFiles") == 1
    download("--force")
    assert kaggle.requests.count("DownloadDataFiles") == 2


def test_no_member_of_a_zip_is_written_anywhere_else(download: Ran, kaggle: Kaggle, tmp_path: Path) -> None:
    planted = {"../planted.csv": b"x", f"{tmp_path}/planted.csv": b"x", "../../train.csv": b"x", "sub/test.csv": b"x"}
    kaggle.files[ARCHIVE] = archive(planted | FILES)
    download()
    assert have_arrived()
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    names = {"train.csv", "test.csv", "checksums.json"}
    assert written - {"store/kaggle_download.lock"} == {f"data/kaggle/{name}" for name in names}
    assert not (tmp_path.parent / "planted.csv").exists()


def test_no_more_is_unpacked_than_a_csv_of_tweets_can_be(
    download: Ran, kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.kaggle.download.LARGEST", len(TRAIN))
    download()
    kaggle.files[ARCHIVE] = archive({"train.csv": TRAIN + b"0" * 10_000, "test.csv": TEST})
    with pytest.raises(InputError, match=r"train\.csv: .* no csv of tweets has more"):
        download("--force")


BIG = archive({"noise.bin": np.random.default_rng(0).bytes(3_000_000)} | FILES)
KEPT = 1 << 20
"""The client writes 1 MiB at a time."""


def test_a_download_that_is_cut_goes_on_where_it_was(download: Ran, kaggle: Kaggle) -> None:
    kaggle.files[ARCHIVE], kaggle.cut_at = BIG, [1_500_000]
    assert f"Resuming from {KEPT} bytes" in download()
    assert have_arrived()
    assert kaggle.requests[-1] == f"GET from {KEPT}"


RULES = b'{"code": 403, "message": "You must accept this competition\'s rules before you can download files."}'


@pytest.mark.parametrize(
    ("status", "content_type", "payload", "message"),
    [
        (403, "application/json", RULES, "download files.; are the rules accepted, at kaggle.com/c/nlp-"),
        (401, "text/html", b"", "no token of yours that it accepts"),
        (429, "text/html", b"", "Too Many Requests for url.*; wait some minutes"),
        (503, "text/html", b"", "Service Unavailable for url.*; try again in some minutes"),
    ],
)
def test_refusals_say_what_kaggle_said_and_what_to_do(
    download: Ran, kaggle: Kaggle, status: int, content_type: str, payload: bytes, message: str
) -> None:
    kaggle.refusals["DownloadDataFiles"] = (status, payload, content_type)
    with pytest.raises(InputError, match=message) as raised:
        download()
    assert isinstance(raised.value, PassingError) == (status in (429, 503))
    assert not Path("data").exists()


def test_a_renamed_competition_can_be_named(download: Ran, kaggle: Kaggle) -> None:
    kaggle.competition, kaggle.files = "nlp-renamed", {"nlp-renamed.zip": archive(FILES)}
    with pytest.raises(InputError, match="was the competition nlp-getting-started renamed"):
        download()
    download("--competition", "nlp-renamed")
    assert have_arrived()


def test_files_of_another_competition_are_refused(download: Ran, kaggle: Kaggle) -> None:
    kaggle.files[ARCHIVE] = archive({"train.csv": b"PassengerId,Survived\n", "test.csv": TEST})
    with pytest.raises(InputError, match=r"train\.csv: what Kaggle sent begins with 'PassengerId,Survived'"):
        download()
    assert not Path("data").exists()


def test_a_broken_zip_is_refused_and_fetched_anew(download: Ran, kaggle: Kaggle) -> None:
    whole = archive(FILES)
    kaggle.files[ARCHIVE] = whole.replace(b",a,1", b",a,0", 1)
    with pytest.raises(InputError, match=r"train\.csv: cannot be unpacked: Bad CRC-32"):
        download()
    kaggle.files[ARCHIVE] = whole
    download()
    assert have_arrived()


def test_no_network_is_told(download: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(InputError, match="the connection to Kaggle failed: run again"):
        download()


def test_a_missing_token_is_one_clear_line(command: Command) -> None:
    assert one_line_error(command("pipeline.kaggle.download")) == f"error: {NO_TOKEN}"


@pytest.mark.parametrize("token", [f"{TOKEN}\n{TOKEN}", f"“{TOKEN}”", TOKEN])
def test_no_token_is_ever_shown(
    kaggle: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], token: str
) -> None:
    """The client prints it where it has a character that a header cannot hold, and with VERBOSE whenever it asks."""
    kaggle.refusals["DownloadDataFiles"] = (418, b"", "text/html")
    monkeypatch.setenv("KAGGLE_API_TOKEN", token)
    monkeypatch.setenv("VERBOSE", "true")
    monkeypatch.setattr(sys, "argv", ["download"])
    with pytest.raises(
        InputError, match=r"holds a character that no token has|418 Client Error|no token of yours"
    ) as raised:
        main()
    told = capfd.readouterr()
    kept = [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    for text in (str(raised.value), told.out, told.err, *kept):
        assert TOKEN.removeprefix("KGAT_") not in text


def test_what_is_secret_is_blotted_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_KEY", "my-short-key")
    assert without_tokens(f"my-short-key {KEY} {TOKEN} x") == "*** *** *** x"
    assert "'Bearer ***'" in str(explained(OSError("header value 'Bearer not-known'"), "c"))


@pytest.mark.parametrize(
    ("error", "meaning", "passes"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full", False),
        (ConnectionError("IncompleteRead"), "the connection to Kaggle failed: run again", True),
        (ValueError("size (1) does not match expected size (2)"), "a download goes on where it stopped", True),
        (UnicodeEncodeError("latin-1", "“x”", 0, 1, "no"), "holds a character that no token has", False),
    ],
    ids=str,
)
def test_failures_without_a_status_are_told_apart(error: Exception, meaning: str, passes: bool) -> None:
    told = explained(error, "c")
    assert meaning in str(told)
    assert isinstance(told, PassingError) == passes
