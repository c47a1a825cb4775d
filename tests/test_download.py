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
from conftest import Command, one_line_error
from kaggle_server import KEY, TOKEN, Kaggle, archive, serving

from pipeline.kaggle.credentials import redacted
from pipeline.kaggle.failures import Passing, explain

TRAIN, TEST = b"id,keyword,location,text,target\n1,,,a,1\n", b"id,keyword,location,text\n2,,,b\n"
FILES = {"train.csv": TRAIN, "test.csv": TEST}
ARCHIVE = "nlp-getting-started.zip"


@pytest.fixture
def kaggle() -> Iterator[Kaggle]:
    with serving() as server:
        server.files[ARCHIVE] = archive(FILES)
        yield server


def download(command: Command, kaggle: Kaggle, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return command("pipeline.kaggle.download", *arguments, **(kaggle.environment | environment))


def arrived(project: Path) -> None:
    for name, content in FILES.items():
        assert (project / "data/kaggle" / name).read_bytes() == content


def test_the_files_arrive_once_with_checksums(command: Command, kaggle: Kaggle, project: Path) -> None:
    done = download(command, kaggle)
    assert done.returncode == 0, done.stderr
    arrived(project)
    recorded = json.loads((project / "data/kaggle/checksums.json").read_text())
    assert recorded["files"]["train.csv"]["bytes"] == len(TRAIN)
    assert recorded["files"]["train.csv"]["sha256"] in done.stdout

    kaggle.requests.clear()
    again = download(command, kaggle)
    assert "unchanged since it was fetched" in again.stdout
    assert not kaggle.requests

    (project / "data/kaggle/test.csv").write_bytes(b"something else")
    assert "test.csv not as fetched" in download(command, kaggle).stdout
    arrived(project)

    assert download(command, kaggle, "--force").returncode == 0
    assert "DownloadDataFiles" in kaggle.requests[-2:]


@pytest.mark.parametrize(
    "files",
    [
        {"nlp-getting-started.csv": b"something", **FILES},
        {ARCHIVE: archive({"train.csv": TRAIN}), "test.csv": TEST},
        {ARCHIVE: archive({}), "train.csv.zip": archive({"train.csv": TRAIN}), "test.csv": TEST},
    ],
)
def test_what_the_archive_lacks_is_fetched_by_itself_as_csv_or_zip(
    command: Command, kaggle: Kaggle, project: Path, files: dict[str, bytes]
) -> None:
    kaggle.files = files
    done = download(command, kaggle)
    assert done.returncode == 0, done.stderr
    arrived(project)


def test_no_member_of_a_zip_is_written_anywhere_else(
    command: Command, kaggle: Kaggle, project: Path, tmp_path: Path
) -> None:
    planted = {
        "../planted.csv": b"x",
        str(tmp_path / "planted.csv"): b"x",
        "../../train.csv": b"x",
        "sub/test.csv": b"x",
    }
    kaggle.files[ARCHIVE] = archive(planted | FILES)
    done = download(command, kaggle)
    assert done.returncode == 0, done.stderr
    arrived(project)
    written = [path for path in tmp_path.rglob("*") if "kaggle" in path.parts[-3:] or "planted" in path.name]
    names = {path.name for path in written if path.is_file() and "pipeline" not in path.parts}
    assert names == {"train.csv", "test.csv", "checksums.json"}


BIG = archive({"noise.bin": np.random.default_rng(0).bytes(3_000_000)} | FILES)
KEPT = 1 << 20
"""The client writes 1 MiB at a time."""


def test_a_download_that_is_cut_goes_on_where_it_was(command: Command, kaggle: Kaggle, project: Path) -> None:
    kaggle.files[ARCHIVE], kaggle.cut_at = BIG, [1_500_000]
    done = download(command, kaggle)
    assert done.returncode == 0, done.stderr
    arrived(project)
    assert f"GET from {KEPT}" in kaggle.requests
    assert f"Resuming from {KEPT} bytes" in done.stderr


def test_a_download_that_is_killed_goes_on_in_the_next(
    command: Command, kaggle: Kaggle, project: Path, tmp_path: Path
) -> None:
    kaggle.files[ARCHIVE], kaggle.cut_at = BIG, [1_500_000]
    kaggle.hold.clear()
    partial = tmp_path / "store/kaggle/nlp-getting-started/all" / ARCHIVE
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("KAGGLE")}
    own = {"HOME": str(tmp_path), "DISASTER_TWEETS_STORE": str(tmp_path / "store")}
    first = subprocess.Popen(
        [sys.executable, "-m", "pipeline.kaggle.download"],
        cwd=project,
        env=inherited | own | kaggle.environment,
        start_new_session=True,
    )
    until = time.monotonic() + 60
    while not (partial.is_file() and partial.stat().st_size == KEPT) and time.monotonic() < until:
        time.sleep(0.05)

    busy = download(command, kaggle)
    assert "another download is running" in one_line_error(busy)

    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert partial.stat().st_size == KEPT
    assert not (project / "data/kaggle").exists()
    kaggle.hold.set()
    done = download(command, kaggle)
    assert done.returncode == 0, done.stderr
    arrived(project)
    assert kaggle.requests[-1] == f"GET from {KEPT}"
    assert not partial.parent.exists()


RULES = b'{"code": 403, "message": "You must accept this competition\'s rules before you can download files."}'


@pytest.mark.parametrize(
    ("status", "content_type", "payload", "message"),
    [
        (403, "application/json", RULES, "wants its rules accepted"),
        (403, "text/html", b"", "wants its rules accepted first, at kaggle.com/c/nlp-getting-started/rules"),
        (401, "text/html", b"", "does not accept the token in KAGGLE_API_TOKEN: it may have expired"),
        (404, "text/html", b"", "knows no competition nlp-getting-started"),
        (429, "text/html", b"", "too many requests"),
        (503, "text/html", b"", "Kaggle has troubles of its own"),
    ],
)
def test_refusals_are_one_clear_line(
    command: Command, kaggle: Kaggle, project: Path, status: int, content_type: str, payload: bytes, message: str
) -> None:
    kaggle.refusals["DownloadDataFiles"] = (status, payload, content_type)
    assert message in one_line_error(download(command, kaggle))
    assert not (project / "data/kaggle").exists()


def test_a_renamed_competition_can_be_named(command: Command, kaggle: Kaggle, project: Path) -> None:
    kaggle.competition, kaggle.files = "nlp-renamed", {"nlp-renamed.zip": archive(FILES)}
    assert "was it renamed? Pass its name by --competition" in one_line_error(download(command, kaggle))
    assert download(command, kaggle, "--competition", "nlp-renamed").returncode == 0
    arrived(project)


def test_files_of_another_competition_are_refused(command: Command, kaggle: Kaggle, project: Path) -> None:
    kaggle.files[ARCHIVE] = archive({"train.csv": b"PassengerId,Survived\n", "test.csv": TEST})
    assert "train.csv: what Kaggle sent begins with 'PassengerId,Survived'" in one_line_error(download(command, kaggle))
    assert not (project / "data/kaggle").exists()


def test_a_broken_zip_is_refused_and_fetched_anew(command: Command, kaggle: Kaggle, project: Path) -> None:
    whole = archive(FILES)
    kaggle.files[ARCHIVE] = whole.replace(b",a,1", b",a,0", 1)
    assert "a zip that cannot be read: Bad CRC-32" in one_line_error(download(command, kaggle))
    kaggle.files[ARCHIVE] = whole
    assert download(command, kaggle).returncode == 0
    arrived(project)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_full_disk_is_one_clear_line_at_once(command: Command, kaggle: Kaggle, tmp_path: Path) -> None:
    partial = tmp_path / "store/kaggle/nlp-getting-started/all" / ARCHIVE
    partial.parent.mkdir(parents=True)
    partial.symlink_to("/dev/full")
    started = time.monotonic()
    assert "the disk is full: free some space" in one_line_error(download(command, kaggle))
    assert time.monotonic() - started < 20  # the client by itself would try for a minute


def test_no_network_is_one_clear_line(command: Command, kaggle: Kaggle) -> None:
    closed = "http://127.0.0.1:9"
    done = download(command, kaggle, HTTP_PROXY=closed, http_proxy=closed)
    assert "Kaggle cannot be reached: check the network" in one_line_error(done)


def test_a_missing_token_is_one_clear_line(command: Command) -> None:
    message = one_line_error(command("pipeline.kaggle.download"))
    assert message == "error: no Kaggle token: create one at kaggle.com/settings/api and set KAGGLE_API_TOKEN to it"


def test_tokens_of_every_kind_are_taken(command: Command, kaggle: Kaggle, project: Path, tmp_path: Path) -> None:
    by_name = kaggle.environment | {"KAGGLE_USERNAME": "someone", "KAGGLE_KEY": KEY}
    del by_name["KAGGLE_API_TOKEN"]
    assert command("pipeline.kaggle.download", **by_name).returncode == 0
    in_file = {name: value for name, value in by_name.items() if name not in ("KAGGLE_USERNAME", "KAGGLE_KEY")}
    (tmp_path / ".kaggle").mkdir(exist_ok=True)
    (tmp_path / ".kaggle/kaggle.json").write_text(json.dumps({"username": "someone", "key": KEY}))
    assert command("pipeline.kaggle.download", "--force", **in_file).returncode == 0
    (tmp_path / ".kaggle/kaggle.json").write_text(json.dumps({"username": "someone", "key": "f" * 32}))
    message = one_line_error(command("pipeline.kaggle.download", "--force", **in_file))
    assert f"does not accept the token in {tmp_path}/.kaggle/kaggle.json" in message
    (tmp_path / ".kaggle/access_token").write_text(TOKEN)
    assert command("pipeline.kaggle.download", "--force", **in_file).returncode == 0
    arrived(project)


@pytest.mark.parametrize("token", [f"{TOKEN}\r", f"{TOKEN}\n{TOKEN}", f"“{TOKEN}”", TOKEN])
def test_no_token_is_ever_shown(command: Command, kaggle: Kaggle, tmp_path: Path, token: str) -> None:
    """The client prints it where it has a character that a header cannot hold, and with VERBOSE whenever it asks."""
    kaggle.refusals["DownloadDataFiles"] = (418, b"", "text/html")
    done = download(command, kaggle, KAGGLE_API_TOKEN=token, VERBOSE="true")
    message = one_line_error(done)
    assert "holds a character that no token has" in message or "418 Client Error" in message
    everything = done.stdout + done.stderr
    everything += "".join(
        path.read_text(errors="replace") for path in (tmp_path / "store").rglob("*") if path.is_file()
    )
    assert TOKEN not in everything
    assert TOKEN.removeprefix("KGAT_") not in everything


def test_what_is_secret_is_blotted_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KAGGLE_KEY", "my-short-key")
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
        ("You must verify your phone number", "wants your account verified"),
    ],
)
def test_failures_are_told_apart(output: str, meaning: str) -> None:
    assert meaning in str(explain(output))


def test_only_what_may_pass_is_waited_for() -> None:
    assert isinstance(explain("requests.exceptions.ReadTimeout: x"), Passing)
    assert not isinstance(explain("403 Client Error: Forbidden for url: x"), Passing)
