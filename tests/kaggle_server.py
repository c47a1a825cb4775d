"""As much of Kaggle as the kaggle command line asks for: tokens, downloads in ranges, uploads, submissions and their limits.

The client's LOCALHOST environment is port 80 of this machine; a proxy brings it to the port that the test was given.
"""

import base64
import io
import json
import os
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest

TOKEN = "KGAT_0123456789abcdef0123456789abcdef"  # pragma: allowlist secret
KEY = "00112233445566778899aabbccddeeff"  # pragma: allowlist secret
CHANGED = "Wed, 21 Oct 2015 07:28:00 GMT"


def archive(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as files:
        for name, content in members.items():
            files.writestr(name, content)
    return packed.getvalue()


class Kaggle(ThreadingHTTPServer):
    """What the competition has, and what has become of it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.competition = "nlp-getting-started"
        self.files: dict[str, bytes] = {}  # nlp-getting-started.zip
        self.refusals: dict[str, tuple[int, bytes, str]] = {}  # by method: status, body, content type
        self.cut_at: list[int] = []  # after so many bytes the connection breaks, once for each
        self.requests: list[str] = []  # methods, and ranges of downloads
        self.uploads: dict[str, bytes] = {}
        self.submissions: list[dict[str, Any]] = []
        self.truth: dict[int, int] = {}
        self.listings_pending = 1  # a submission is pending in so many listings
        self.allowed = 5

    @property
    def environment(self) -> dict[str, str]:
        proxy = f"http://127.0.0.1:{self.server_port}"
        proxies = {"HTTP_PROXY": proxy, "http_proxy": proxy, "NO_PROXY": "", "no_proxy": ""}
        return {"KAGGLE_API_TOKEN": TOKEN, "KAGGLE_API_ENVIRONMENT": "LOCALHOST"} | proxies

    def submit(self, content: bytes, description: str) -> dict[str, Any]:
        rows = [line.split(",") for line in content.decode().splitlines()[1:]]
        right = [self.truth.get(int(one)) == int(target) for one, target in rows]
        fitting = len(rows) == len(self.truth)
        self.submissions.append(
            {
                "ref": 1000 + len(self.submissions),
                "date": "2026-11-23T08:00:00Z",
                "description": description,
                "fileName": "submission.csv",
                "listings": self.listings_pending,
                "score": f"{sum(right) / len(right):.5f}" if fitting else None,
            }
        )
        return self.submissions[-1]

    def listed(self) -> list[dict[str, Any]]:
        """Newest first, as Kaggle lists them."""
        found = []
        for one in reversed(self.submissions):
            status = "PENDING" if one["listings"] > 0 else "COMPLETE" if one["score"] else "ERROR"
            one["listings"] -= 1
            shown = {name: one[name] for name in ("ref", "date", "description", "fileName")}
            score = {"publicScore": one["score"]} if status == "COMPLETE" else {}
            found.append(shown | {"status": status} | score)
        return found


class Handler(BaseHTTPRequestHandler):
    server: Kaggle

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def answer(self, body: dict[str, Any]) -> None:
        self.send(200, json.dumps(body).encode(), Content_Type="application/json")

    def refuse(self, status: int, message: str) -> None:
        self.send(status, json.dumps({"code": status, "message": message}).encode(), Content_Type="application/json")

    def known(self) -> bool:
        basic = base64.b64encode(f"someone:{KEY}".encode()).decode()
        return self.headers.get("Authorization") in (f"Bearer {TOKEN}", f"Basic {basic}")

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        method = urlparse(self.path).path.rsplit("/", 1)[-1]
        self.server.requests.append(method)
        if method == "IntrospectToken":
            active = asked["token"] == TOKEN
            self.answer({"active": active, "username": "someone"} if active else {"active": False})
        elif not self.known():
            self.send(401, b"", Content_Type="text/html")
        elif method in self.server.refusals:
            status, body, kind = self.server.refusals[method]
            self.send(status, body, Content_Type=kind)
        elif asked.get("competitionName") != self.server.competition:
            self.refuse(404, "Not found")
        else:
            replies: dict[str, Callable[[dict[str, Any]], None]] = {
                "DownloadDataFiles": self.all_files,
                "StartSubmissionUpload": self.start_upload,
                "CreateSubmission": self.create,
                "ListSubmissions": self.list_submissions,
            }
            replies[method](asked)

    def all_files(self, asked: dict[str, Any]) -> None:
        name = f"{self.server.competition}.zip"
        self.send(302, Location=f"http://localhost/files/{name}?Signature=of-a-signed-address")

    def start_upload(self, asked: dict[str, Any]) -> None:
        name = f"upload-{len(self.server.uploads)}"
        self.server.uploads[name] = b""
        self.answer({"token": name, "createUrl": f"http://localhost/uploads/{name}"})

    def create(self, asked: dict[str, Any]) -> None:
        if len(self.server.submissions) >= self.server.allowed:
            self.refuse(400, "Submission not allowed: Your team has used its daily Submission allowance (5) today.")
            return
        one = self.server.submit(self.server.uploads[asked["blobFileTokens"]], asked["submissionDescription"])
        self.answer({"message": "Successfully submitted to Disaster Tweets", "ref": one["ref"]})

    def list_submissions(self, asked: dict[str, Any]) -> None:
        self.answer({"submissions": self.server.listed()})

    def do_PUT(self) -> None:
        name = urlparse(self.path).path.rsplit("/", 1)[-1]
        self.server.requests.append("PUT")
        size = self.headers["Content-Length"]
        content = self.rfile.read(int(size)) if size else self.chunked()
        if "PUT" in self.server.refusals:
            self.send(self.server.refusals["PUT"][0])
            return
        self.server.uploads[name] = content
        self.send(200)

    def chunked(self) -> bytes:
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        return content

    def do_GET(self) -> None:
        content = self.server.files[urlparse(self.path).path.rsplit("/", 1)[-1]]
        first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        self.server.requests.append(f"GET from {first}")
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(content) - first))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", '"of-this-version"')
        self.send_header("Last-Modified", CHANGED)
        self.end_headers()
        if self.server.cut_at:
            self.wfile.write(content[first : self.server.cut_at.pop(0)])
            self.wfile.flush()
            self.close_connection = True
        else:
            self.wfile.write(content[first:])

    def log_message(self, *_: object) -> None:
        pass


def at_home(monkeypatch: pytest.MonkeyPatch, folder: Path, environment: dict[str, str]) -> None:
    """Go to the folder, which is home as well and has the store; with no token but that of the environment."""
    for name in list(os.environ):
        if name.startswith(("KAGGLE", "VERBOSE", "XDG")):
            monkeypatch.delenv(name)
    for name in [name for name in sys.modules if name.split(".")[0] in ("kaggle", "kagglesdk")]:
        monkeypatch.delitem(sys.modules, name)  # it looks for tokens when it is imported
    own = {"HOME": str(folder), "DISASTER_TWEETS_STORE": str(folder / "store")}
    for name, value in (own | environment).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)


Ran = Callable[..., str]
"""From the arguments of a command to what it prints."""


def run_here(main: Callable[[], None], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Ran:
    """The command in this process, which is quicker than in one of its own."""

    def ran(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["command", *arguments])
        capfd.readouterr()
        main()
        return "".join(capfd.readouterr())

    return ran


@contextmanager
def serving() -> Iterator[Kaggle]:
    with Kaggle() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()
