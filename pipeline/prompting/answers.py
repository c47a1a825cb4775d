"""The answer store: every answer of an LLM, written as it arrives, keyed by everything that determines it."""

import hashlib
import json
import os
import re
import secrets
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import psutil
from pydantic import BaseModel, Field, ValidationError, field_validator

from pipeline.contracts import InputError, first_fault
from pipeline.contracts.errors import exhausted

# Raised when answers of an older layout must not be found any more.
FORMAT = 2

Request = dict[str, Any]
MOST_TOKENS = 10**12
Count = Annotated[int, Field(ge=0, le=MOST_TOKENS)]


class Answer(BaseModel):
    """What came back for one request, and what it used."""

    replies: list[str] = []
    top_logprobs: list[tuple[str, Annotated[float, Field(le=1)]]] = []
    """The most probable first tokens with their log-probabilities."""
    text_logprob: float | None = None
    """Log-probability of the text that a request asked to be scored."""
    refused: int | None = None
    """HTTP status, where the endpoint said that it cannot or will not do what was asked; 200 where it sent no reply."""
    said: str = ""
    """Why there is no reply, in the endpoint's own words."""
    version: str | None = None
    """What a remote endpoint says that it was answered by (`system_fingerprint`)."""
    batch: bool = False
    """Whether it came through the Batch API, at its own price."""
    prompt_tokens: Count = 0
    cached_tokens: Count = 0
    completion_tokens: Count = 0
    reasoning_tokens: Count = 0
    """Those of the completion's that were thought, where the endpoint says so."""
    seconds: float = Field(0.0, ge=0, allow_inf_nan=False)

    def in_short(self) -> str:
        """What came back, in a few words for a message."""
        reply = next(filter(None, self.replies), "")
        if self.refused:
            return f"{self.refused}: {self.said or 'no reply'}"
        if self.top_logprobs:
            return f"the first token is {max(self.top_logprobs, key=lambda top: top[1])[0]!r}"
        if self.said:
            return f"it says: {self.said}"
        return f"the reply is {reply!r:.60}" if reply else "the reply is empty; is prompt.reply_tokens enough?"

    @property
    def kept(self) -> bool:
        """Whether it belongs in the store: all that was paid for, not that a tweet was refused, which may be of the moment."""
        return not self.refused or self.batch or self.prompt_tokens + self.completion_tokens > 0


class Pair(BaseModel):
    request: Request
    answer: Answer

    @field_validator("request")
    @classmethod
    def asks_in_words(cls, request: Request) -> Request:
        """Messages, if a request has any, are a list, each with its content as text."""
        messages = request.get("messages", [])
        found = messages if isinstance(messages, list) else [None]
        if not all(isinstance(one, dict) and isinstance(one.get("content"), str) for one in found):
            raise ValueError("messages must be a list, each with its content as text")
        return request


class Line(BaseModel):
    """A line of a transcript or an export, as far as the store is concerned."""

    id: int | None
    """The tweet's; null for what was asked about the endpoint, and in an export."""
    identity: str
    model: str | None = None
    """What the model is called; transcripts did not always say."""
    created: str | None = None
    asked: list[Pair]

    def stored(self) -> list[Pair]:
        """What belongs in the store."""
        return [pair for pair in self.asked if self.id is None or pair.answer.kept]


def request_key(identity: str, request: Request) -> str:
    """Hash of the model's identity and the request: its messages, sampling and scoring settings."""
    canonical = json.dumps({"format": FORMAT, "identity": identity, **request}, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


# A batch is noted before it is sent, so that a killed run finds it again instead of paying for another; a model's name, so that
# its answers are found where its file, which tells its identity, is not.
TABLES = """
CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, identity TEXT NOT NULL, request TEXT NOT NULL, answer TEXT NOT NULL,
    created TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (job TEXT PRIMARY KEY, identity TEXT NOT NULL, asked TEXT NOT NULL,
    created TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS leases (job TEXT PRIMARY KEY, owner TEXT NOT NULL, until REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS models (identity TEXT NOT NULL UNIQUE, model TEXT NOT NULL);
"""
NETWORK = re.compile(r"nfs\d?|cifs|smb.*|9p|afpfs|(web)?davf?s?|(fuse\.)?(sshfs|ceph|glusterfs|davfs)|lustre|beegfs")


def network(path: Path) -> str | None:
    """The kind of the network file system that a path is on; None if it is on this machine."""
    holding = [one for one in psutil.disk_partitions(all=True) if path.resolve().is_relative_to(one.mountpoint)]
    found = max(holding, key=lambda one: len(one.mountpoint), default=None)
    if found and (NETWORK.fullmatch(found.fstype.lower()) or "remote" in found.opts.split(",")):
        return str(found.fstype)
    return None


class AnswerStore:
    """A SQLite file: whole answers or none, through kill -9 and under several processes. One that may only be read is read."""

    def __init__(self, path: Path) -> None:
        self.path, self._owner = path, secrets.token_hex(8)
        self.readonly = os.access(path, os.R_OK) and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))
        with self._faults():
            if self.readonly:  # where nobody can write, there is no log of what was last written
                alone = not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists()
                address = f"{path.absolute().as_uri()}?{'immutable=1' if alone else 'mode=ro'}"
                self._db = sqlite3.connect(address, uri=True, timeout=60, isolation_level=None)
                return
            self._db = sqlite3.connect(path, timeout=60, isolation_level=None)
            if kind := network(path):  # where processes cannot share the memory that WAL takes
                print(f"{path}: on a network file system ({kind}); use it from one machine at a time", file=sys.stderr)
            journal = "DELETE" if kind else "WAL"
            self._db.executescript(f"PRAGMA journal_mode = {journal}; PRAGMA synchronous = NORMAL; {TABLES}")

    def must_be_writable(self) -> None:
        if self.readonly:
            raise InputError(
                f"{self.path}: may only be read, and lacks answers; copy its folder, and set DISASTER_TWEETS_STORE"
            )

    def get(self, key: str) -> Answer | None:
        row = self._run("SELECT answer FROM answers WHERE key = ?", key).fetchone()
        return self._answer(key, row[0]) if row else None

    def put(self, identity: str, request: Request, answer: Answer, created: str | None = None) -> Answer:
        """Keep an answer; if another process was first, its answer stands, and is returned."""
        self.must_be_writable()
        key, asked = request_key(identity, request), json.dumps(request, ensure_ascii=False)
        text = answer.model_dump_json(exclude_defaults=True)
        insert = "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, coalesce(?, CURRENT_TIMESTAMP))"
        kept = self._run(insert, key, identity, asked, text, created)
        return answer if kept.rowcount else self.get(key) or answer

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """What goes wrong with the file (a full disk, a lock that stays, a page that was overwritten) is an `InputError`."""
        try:
            yield
        except sqlite3.Error as error:
            raise InputError(f"{self.path}: {exhausted(error) or error}") from None

    def _run(self, statement: str, *values: object) -> sqlite3.Cursor:
        with self._faults():
            return self._db.execute(statement, values)

    def _answer(self, key: str, text: str) -> Answer:
        try:
            return Answer.model_validate_json(text)
        except ValidationError as error:
            raise InputError(
                f"{self.path}: table answers, key {key}: not an answer: {first_fault(error)}; delete it, and it is asked anew"
            ) from None

    def all(self, identity: str = "") -> Iterator[Line]:
        """Every answer of the models whose identity contains a text, oldest first, as the lines of an export."""
        statement = "SELECT key, identity, request, answer, created FROM answers WHERE instr(identity, ?1) OR ?1 = '' "
        rows, names = self._run(f"{statement} ORDER BY created, key", identity), self.names()
        with self._faults():
            for key, model, request, answer, created in rows:
                pair = Pair.model_construct(request=json.loads(request), answer=self._answer(key, answer))
                yield Line(id=None, identity=model, model=names.get(model), created=created, asked=[pair])

    def name(self, identity: str, model: str) -> None:
        """Note what the model of this identity is called; of several of one name, the last noted is the first found."""
        if not self.readonly:
            self._run("INSERT OR REPLACE INTO models (identity, model) VALUES (?, ?)", identity, model)

    def names(self) -> dict[str, str]:
        """What models are called, by their identities, the last noted first."""
        return dict(self._run("SELECT identity, model FROM models ORDER BY rowid DESC").fetchall())

    def count(self) -> int:
        return int(self._run("SELECT count(*) FROM answers").fetchone()[0])

    def prune(self, identity: str, before: str) -> int:
        """Delete the answers of the models whose identity contains a text, made before a date (ISO; empty: any); how many."""
        delete = "DELETE FROM answers WHERE (instr(identity, ?1) OR ?1 = '') AND (created < ?2 OR ?2 = '')"
        deleted = self._run(delete, identity, before)
        self._run("VACUUM")
        return deleted.rowcount

    def begin_batch(self, job: str, identity: str, asked: dict[str, Request]) -> bool:
        """Note a job that is about to be sent, with its requests by key; whether it had been begun before."""
        insert = "INSERT OR IGNORE INTO batches (job, identity, asked) VALUES (?, ?, ?)"
        return self._run(insert, job, identity, json.dumps(asked, ensure_ascii=False)).rowcount == 0

    def open_batches(self, identity: str) -> dict[str, dict[str, Request]]:
        """The requests, by key, of each job that was begun and not ended."""
        rows = self._run("SELECT job, asked FROM batches WHERE identity = ? ORDER BY created", identity)
        return {job: json.loads(asked) for job, asked in rows}

    def lease(self, job: str, seconds: float) -> bool:
        """Be the only run at a job for so long, from now on; whether no other is."""
        now = time.time()
        self._run("DELETE FROM leases WHERE job = ? AND (owner = ? OR until < ?)", job, self._owner, now)
        return self._run("INSERT OR IGNORE INTO leases VALUES (?, ?, ?)", job, self._owner, now + seconds).rowcount == 1

    def release(self, job: str) -> None:
        self._run("DELETE FROM leases WHERE job = ? AND owner = ?", job, self._owner)

    def end_batch(self, job: str) -> None:
        self._run("DELETE FROM batches WHERE job = ?", job)

    def close(self) -> None:
        self._db.close()
