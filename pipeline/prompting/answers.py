"""The answer store: every answer of an LLM, written as it arrives, keyed by everything that determines it."""

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, Field, ValidationError, field_validator

from pipeline.contracts import InputError, first_fault
from pipeline.contracts.errors import exhausted

# Raised when answers of an older layout must not be found any more.
FORMAT = 2

Request = dict[str, Any]


class Answer(BaseModel):
    """What came back for one request, and what it used."""

    replies: list[str] = []
    top_logprobs: list[tuple[str, Annotated[float, Field(le=1)]]] = []
    """The most probable first tokens with their log-probabilities."""
    text_logprob: float | None = None
    """Log-probability of the text that a request asked to be scored."""
    refused: int | None = None
    """HTTP status, where the endpoint said that it cannot do what was asked: this, too, is asked once."""
    said: str = ""
    """Why there is no reply, in the endpoint's own words."""
    batch: bool = False
    """Whether it came through the Batch API, at its own price."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    """Those of the completion's that were thought, where the endpoint says so."""
    seconds: float = 0.0

    def in_short(self) -> str:
        """What came back, in a few words for a message."""
        reply = next(filter(None, self.replies), "")
        if self.refused:
            return f"{self.refused}: {self.said}" if self.said else str(self.refused)
        if self.top_logprobs:
            return f"the first token is {max(self.top_logprobs, key=lambda top: top[1])[0]!r}"
        if self.said:
            return f"it says: {self.said}"
        return f"the reply is {reply!r:.60}" if reply else "the reply is empty; is prompt.reply_tokens enough?"


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
        """What belongs in the store: not that a tweet was refused, which is not kept there either."""
        return [pair for pair in self.asked if self.id is None or not pair.answer.refused]


class Stored(NamedTuple):
    """A row of the store."""

    key: str
    identity: str
    request: Request
    answer: Answer
    created: str


def request_key(identity: str, request: Request) -> str:
    """Hash of the model's identity and the request: its messages, sampling and scoring settings."""
    canonical = json.dumps({"format": FORMAT, "identity": identity, **request}, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


class AnswerStore:
    """A SQLite file: whole answers or none, through kill -9 and under several processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._faults():
            self._db = sqlite3.connect(path, timeout=60, isolation_level=None)
        self._run("PRAGMA journal_mode = WAL")
        self._run("PRAGMA synchronous = NORMAL")
        self._run(
            "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, identity TEXT NOT NULL, "
            "request TEXT NOT NULL, answer TEXT NOT NULL, created TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP) WITHOUT ROWID"
        )
        # Written before a batch is sent, so that a killed run finds it again instead of paying for another.
        self._run(
            "CREATE TABLE IF NOT EXISTS batches (job TEXT PRIMARY KEY, identity TEXT NOT NULL, asked TEXT NOT NULL, "
            "created TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP) WITHOUT ROWID"
        )
        # So that a model's answers are found where its file, which tells its identity, is not.
        self._run("CREATE TABLE IF NOT EXISTS models (identity TEXT NOT NULL UNIQUE, model TEXT NOT NULL)")

    def get(self, key: str) -> Answer | None:
        row = self._run("SELECT answer FROM answers WHERE key = ?", key).fetchone()
        return self._answer(key, row[0]) if row else None

    def put(self, identity: str, request: Request, answer: Answer, created: str | None = None) -> Answer:
        """Keep an answer; if another process was first, its answer stands, and is returned."""
        key = request_key(identity, request)
        kept = self._run(
            "INSERT OR IGNORE INTO answers (key, identity, request, answer, created) "
            "VALUES (?, ?, ?, ?, coalesce(?, CURRENT_TIMESTAMP))",
            key,
            identity,
            json.dumps(request, ensure_ascii=False),
            answer.model_dump_json(exclude_defaults=True),
            created,
        )
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

    def all(self, identity: str = "") -> Iterator[Stored]:
        """Every answer of the models whose identity contains a text, oldest first."""
        rows = self._run(
            "SELECT key, identity, request, answer, created FROM answers WHERE instr(identity, ?1) OR ?1 = '' "
            "ORDER BY created, key",
            identity,
        )
        with self._faults():
            for key, model, request, answer, created in rows:
                yield Stored(key, model, json.loads(request), self._answer(key, answer), created)

    def name(self, identity: str, model: str) -> None:
        """Note what the model of this identity is called; of several of one name, the last noted is the first found."""
        self._run("INSERT OR REPLACE INTO models (identity, model) VALUES (?, ?)", identity, model)

    def names(self) -> dict[str, str]:
        """What models are called, by their identities, the last noted first."""
        return dict(self._run("SELECT identity, model FROM models ORDER BY rowid DESC").fetchall())

    def count(self) -> int:
        return int(self._run("SELECT count(*) FROM answers").fetchone()[0])

    def prune(self, identity: str, before: str) -> int:
        """Delete the answers of the models whose identity contains a text, made before a date (ISO); how many they were.

        An empty text or date leaves that open.
        """
        deleted = self._run(
            "DELETE FROM answers WHERE (instr(identity, ?1) OR ?1 = '') AND (created < ?2 OR ?2 = '')",
            identity,
            before,
        )
        self._run("VACUUM")
        return deleted.rowcount

    def begin_batch(self, job: str, identity: str, asked: dict[str, Request]) -> bool:
        """Note a job that is about to be sent, with its requests by key; whether it had been begun before."""
        inserted = self._run(
            "INSERT OR IGNORE INTO batches (job, identity, asked) VALUES (?, ?, ?)",
            job,
            identity,
            json.dumps(asked, ensure_ascii=False),
        )
        return inserted.rowcount == 0

    def open_batches(self, identity: str) -> dict[str, dict[str, Request]]:
        """The requests, by key, of each job that was begun and not ended."""
        rows = self._run("SELECT job, asked FROM batches WHERE identity = ? ORDER BY created", identity)
        return {job: json.loads(asked) for job, asked in rows}

    def end_batch(self, job: str) -> None:
        self._run("DELETE FROM batches WHERE job = ?", job)

    def close(self) -> None:
        self._db.close()
