"""Downloads by the real kaggle command line from a server on this machine."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Command, one_line_error
from kaggle_server import KEY, TOKEN, Kaggle, Ran, archive, at_home, run_here, serving

from pipeline.contracts import InputError
from pipeline.data import csv_file
from pipeline.kaggle.command import PassingError, explain, redacted
from pipeline.kaggle.download import main, members

TRAIN, TEST = b"id,keyword,location,text,target\n1,,,a,1\n", b"id,keyword,location,text\n2,,,b\n"
FILES = {"train.csv": TRAIN, "test.csv": TEST}
ARCHIVE = "nlp-getting-started.zip"
PARTIAL = Path("store/kaggle/nlp-getting-started/all") / ARCHIVE


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
    assert said.splitlines()[-1] == "next: python -m pipeline.apply data.source=data/kaggle; make repro"

    kaggle.requests.clear()
    assert "unchanged since it was fetched" in download()
    assert not kaggle.requests

    Path("data/kaggle/test.csv").write_bytes(b"something else")
    assert "test.csv not as fetched" in download()
    assert have_arrived()
    assert kaggle.requests.count("DownloadDataFiles") == 1
    download("--force")
    assert kaggle.requests.count("DownloadDataFiles") == 2


@pytest.mark.parametrize(
    "files",
    [
        {"nlp-getting-started.csv": b"something", **FILES},
        {ARCHIVE: archive({"test.csv": TEST}), "train.csv.zip": archive({"train.csv": TRAIN})},
    ],
)
def test_what_the_archive_lacks_is_fetched_by_itself_as_csv_or_zip(
    download: Ran, kaggle: Kaggle, files: dict[str, bytes]
) -> None:
    kaggle.files = files
    download()
    assert have_arrived()


def test_no_member_of_a_zip_is_written_anywhere_else(download: Ran, kaggle: Kaggle, tmp_path: Path) -> None:
    planted = {"../planted.csv": b"x", f"{tmp_path}/planted.csv": b"x", "../../train.csv": b"x", "sub/test.csv": b"x"}
    kaggle.files[ARCHIVE] = archive(planted | FILES)
    download()
    assert have_arrived()
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    names = {"train.csv", "test.csv", "checksums.json"}
    assert written - {"store/kaggle_download.lock"} == {f"data/kaggle/{name}" for name in names}
    assert not (tmp_path.parent / "planted.csv").exists()


def test_no_more_is_unpacked_than_a_csv_of_tweets_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_file, "LARGEST", len(TRAIN))
    assert members(ARCHIVE, archive(FILES)) == FILES
    with pytest.raises(InputError, match=r"train\.csv: .* no csv of tweets has more"):
        members(ARCHIVE, archive({"train.csv": TRAIN + b"0" * 10_000}))


BIG = archive({"noise.bin": np.random.default_rng(0).bytes(3_000_000)} | FILES)
KEPT = 1 << 20
"""The client writes 1 MiB at a time."""


def test_a_download_that_is_cut_goes_on_where_it_was(download: Ran, kaggle: Kaggle) -> None:
    kaggle.files[ARCHIVE], kaggle.cut_at = BIG, [1_500_000]
    assert f"Resuming from {KEPT} bytes" in download()
    assert have_arrived()
    assert kaggle.requests[-1] == f"GET from {KEPT}"


@pytest.mark.slow
def test_a_download_that_is_killed_goes_on_in_the_next(download: Ran, kaggle: Kaggle) -> None:
    kaggle.files[ARCHIVE], kaggle.cut_at = BIG, [1_500_000]
    kaggle.hold.clear()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    first = subprocess.Popen(
        [sys.executable, "-m", "pipeline.kaggle.download"], env=environment, start_new_session=True
    )
    until = time.monotonic() + 60
    while not (PARTIAL.is_file() and PARTIAL.stat().st_size == KEPT) and time.monotonic() < until:
        time.sleep(0.05)
    with pytest.raises(InputError, match="another download is running"):
        download()

    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert PARTIAL.stat().st_size == KEPT
    assert not Path("data").exists()
    kaggle.hold.set()
    download()
    assert have_arrived()
    assert kaggle.requests[-1] == f"GET from {KEPT}"
    assert not PARTIAL.parent.exists()


RULES = b'{"code": 403, "message": "You must accept this competition\'s rules before you can download files."}'


@pytest.mark.parametrize(
    ("status", "content_type", "payload", "message"),
    [
        (403, "application/json", RULES, "wants its rules accepted"),
        (401, "text/html", b"", "does not accept the token in KAGGLE_API_TOKEN: it may have expired"),
        (503, "text/html", b"", "Kaggle has troubles of its own"),
    ],
)
def test_refusals_say_what_to_do(
    download: Ran, kaggle: Kaggle, status: int, content_type: str, payload: bytes, message: str
) -> None:
    kaggle.refusals["DownloadDataFiles"] = (status, payload, content_type)
    with pytest.raises(InputError, match=message):
        download()
    assert not Path("data").exists()


def test_a_renamed_competition_can_be_named(download: Ran, kaggle: Kaggle) -> None:
    kaggle.competition, kaggle.files = "nlp-renamed", {"nlp-renamed.zip": archive(FILES)}
    with pytest.raises(InputError, match=r"was it renamed\? Pass its name by --competition"):
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
    with pytest.raises(InputError, match="a zip that cannot be read: Bad CRC-32"):
        download()
    kaggle.files[ARCHIVE] = whole
    download()
    assert have_arrived()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_full_disk_is_told_at_once(download: Ran) -> None:
    PARTIAL.parent.mkdir(parents=True)
    PARTIAL.symlink_to("/dev/full")
    started = time.monotonic()
    with pytest.raises(InputError, match="the disk is full: free some space"):
        download()
    assert time.monotonic() - started < 30  # the client by itself tries for 62 seconds


def test_no_network_is_told(download: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(InputError, match="Kaggle cannot be reached: check the network"):
        download()


def test_a_missing_token_is_one_clear_line(command: Command) -> None:
    message = one_line_error(command("pipeline.kaggle.download"))
    assert message == "error: no Kaggle token: create one at kaggle.com/settings/api and set KAGGLE_API_TOKEN to it"


@pytest.mark.slow
def test_tokens_of_every_kind_are_taken(download: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / ".kaggle"
    folder.mkdir()
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    monkeypatch.setenv("KAGGLE_USERNAME", "someone")
    monkeypatch.setenv("KAGGLE_KEY", KEY)
    download()
    monkeypatch.delenv("KAGGLE_USERNAME")
    monkeypatch.delenv("KAGGLE_KEY")
    (folder / "kaggle.json").write_text(json.dumps({"username": "someone", "key": KEY}))
    download("--force")
    (folder / "kaggle.json").write_text(json.dumps({"username": "someone", "key": "f" * 32}))
    with pytest.raises(InputError, match=f"does not accept the token in {folder}/kaggle.json"):
        download("--force")
    (folder / "access_token").write_text(TOKEN)
    download("--force")
    assert have_arrived()


@pytest.mark.parametrize("token", [f"{TOKEN}\n{TOKEN}", f"“{TOKEN}”", TOKEN])
def test_no_token_is_ever_shown(
    kaggle: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], token: str
) -> None:
    """The client prints it where it has a character that a header cannot hold, and with VERBOSE whenever it asks."""
    kaggle.refusals["DownloadDataFiles"] = (418, b"", "text/html")
    monkeypatch.setenv("KAGGLE_API_TOKEN", token)
    monkeypatch.setenv("VERBOSE", "true")
    monkeypatch.setattr(sys, "argv", ["download"])
    with pytest.raises(InputError, match=r"holds a character that no token has|418 Client Error") as raised:
        main()
    told = capfd.readouterr()
    kept = [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    for text in (str(raised.value), told.out, told.err, *kept):
        assert TOKEN.removeprefix("KGAT_") not in text


def test_what_is_secret_is_blotted_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    at_home(monkeypatch, tmp_path, {"KAGGLE_KEY": "my-short-key"})
    (tmp_path / ".kaggle").mkdir()
    (tmp_path / ".kaggle/credentials.json").write_text('{"refresh_token": "refresh-refresh-refresh"}')
    said = (
        f"my-short-key {KEY} {TOKEN} refresh-refresh-refresh 'Bearer not-known' "
        "https://storage.googleapis.com/x.zip?Signature=abc%2F http://me:word@proxy:80/"
    )
    assert redacted(said) == (
        "*** *** *** *** 'Bearer ***' https://storage.googleapis.com/x.zip?*** http://***@proxy:80/"
    )


@pytest.mark.parametrize(
    ("output", "meaning"),
    [
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("requests.exceptions.ChunkedEncodingError: ('Connection broken: IncompleteRead(5 bytes read", "was cut"),
        ("Traceback\n  File x, line 404, in send\n    if code in (401, 403):\nConnectionError: x", "cannot be reached"),
        ("  0%|  | 403/403 [00:00<?]\nsomething new", "the kaggle command failed: something new"),
        ("", "it printed nothing"),
        ("403 Client Error: Forbidden for url: x", "rules accepted first, at kaggle.com/c/nlp-getting-started/rules"),
        ("404 Client Error: Not Found for url: x", "knows no competition nlp-getting-started"),
        ("429 Client Error: Too Many Requests for url: x", "too many requests"),
        ("You must verify your phone number", "wants your account verified"),
    ],
)
def test_failures_are_told_apart(output: str, meaning: str) -> None:
    assert meaning in str(explain(output))


def test_only_what_may_pass_is_waited_for() -> None:
    assert isinstance(explain("requests.exceptions.ReadTimeout: x"), PassingError)
    assert not isinstance(explain("403 Client Error: Forbidden for url: x"), PassingError)
