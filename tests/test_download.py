"""The real kaggle command line against a server on this machine."""

import io
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import Command, one_line_error

TRAIN, TEST = b"id,keyword,location,text,target\n1,,,a,1\n", b"id,keyword,location,text\n2,,,b\n"


def archive(**contents: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as files:
        for name, content in contents.items():
            files.writestr(f"{name}.csv", content)
    return packed.getvalue()


class Kaggle(ThreadingHTTPServer):
    """As much of Kaggle as a download needs: a redirect to a zip, or a refusal."""

    status = 302
    payload = archive(train=TRAIN, test=TEST)
    content_type = "application/json"


class Handler(BaseHTTPRequestHandler):
    server: Kaggle

    def send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.status == 302:
            self.send(302, b"", Location=f"http://localhost:{self.server.server_port}/nlp-getting-started.zip")
        else:
            self.send(self.server.status, self.server.payload, Content_Type=self.server.content_type)

    def do_GET(self) -> None:
        self.send(200, self.server.payload, Last_Modified="Wed, 21 Oct 2015 07:28:00 GMT")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def kaggle() -> Iterator[Kaggle]:
    with Kaggle(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def download(command: Command, kaggle: Kaggle) -> subprocess.CompletedProcess[str]:
    """The client's LOCALHOST environment is port 80; a proxy brings it to the port that the test was given."""
    proxy = f"http://127.0.0.1:{kaggle.server_port}"
    return command(
        "pipeline.data.download",
        KAGGLE_USERNAME="someone",
        KAGGLE_KEY="a-key",
        KAGGLE_API_ENVIRONMENT="LOCALHOST",
        HTTP_PROXY=proxy,
        http_proxy=proxy,
        NO_PROXY="",
        no_proxy="",
    )


def test_the_competitions_files_arrive(command: Command, kaggle: Kaggle, project: Path) -> None:
    done = download(command, kaggle)
    assert done.returncode == 0, done.stderr
    assert (project / "data/kaggle/train.csv").read_bytes() == TRAIN
    assert (project / "data/kaggle/test.csv").read_bytes() == TEST


RULES = b'{"code": 403, "message": "You must accept this competition\'s rules before you can download files."}'


@pytest.mark.parametrize(
    ("status", "content_type", "payload", "message"),
    [
        (403, "application/json", RULES, "wants its rules accepted"),
        (403, "text/html", b"", "wants its rules accepted"),
        (401, "text/html", b"", "no Kaggle token, or one that Kaggle refuses"),
        (404, "text/html", b"", "knows no competition"),
    ],
)
def test_refusals_are_one_clear_line(
    command: Command, kaggle: Kaggle, project: Path, status: int, content_type: str, payload: bytes, message: str
) -> None:
    kaggle.status, kaggle.content_type, kaggle.payload = status, content_type, payload
    assert message in one_line_error(download(command, kaggle))
    assert not (project / "data/kaggle").exists()


def test_an_archive_without_the_files_is_refused(command: Command, kaggle: Kaggle, project: Path) -> None:
    kaggle.payload = archive(train=TRAIN)
    assert "not a zip with train.csv and test.csv" in one_line_error(download(command, kaggle))
    assert not (project / "data/kaggle").exists()


def test_a_missing_token_is_one_clear_line(command: Command) -> None:
    assert "no Kaggle token, or one" in one_line_error(command("pipeline.data.download"))
