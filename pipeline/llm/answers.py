"""The answer store: every answer of an LLM, written as it arrives, keyed by everything that determines it."""

import hashlib
import json
import sqlite3
from pathlib import Path
from typing import Any

from pydantic import BaseModel


class Answer(BaseModel):
    """What came back for one request, and what it used."""

    text: str
    top_logprobs: list[tuple[str, float]]
    """The most probable first tokens with their log-probabilities."""
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    seconds: float


def request_key(identity: str, request: dict[str, Any]) -> str:
    """Hash of the model's identity and the request: its messages, sampling and scoring settings."""
    canonical = json.dumps({"identity": identity, **request}, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


class AnswerStore:
    """A SQLite file: whole answers or none, through kill -9 and under several processes."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, timeout=60, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, identity TEXT NOT NULL, "
            "request TEXT NOT NULL, answer TEXT NOT NULL, created TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP) WITHOUT ROWID"
        )

    def get(self, key: str) -> Answer | None:
        row = self._db.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
        return Answer.model_validate_json(row[0]) if row else None

    def put(self, key: str, identity: str, request: dict[str, Any], answer: Answer) -> None:
        """Keep an answer; if another process was first, its answer stands."""
        self._db.execute(
            "INSERT OR IGNORE INTO answers (key, identity, request, answer) VALUES (?, ?, ?, ?)",
            (key, identity, json.dumps(request, ensure_ascii=False), answer.model_dump_json()),
        )

    def close(self) -> None:
        self._db.close()
