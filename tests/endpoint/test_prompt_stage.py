"""The stage as a user runs it, against an endpoint that counts: kill -9, unreadable replies, the key, tweets that give orders."""

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import Command, as_module, one_line_error, said, set_param
from fake_endpoint import KEY, Fake, completion, obliging, serving

from benchmarks.injections import HARMLESS, MECHANISMS
from pipeline.prompting.sanitize import sanitized

NAME, STAGE = "prompt_zero_shot", ("pipeline.prompting.prompt", "zero_shot")


@pytest.fixture
def asking(project: Path, here: Command) -> Path:
    """The project, prepared, 80 tweets to be asked about."""
    said(here("pipeline.data.prepare"))
    set_param(project, "prompt.train_rows", 80)
    return project


def point_at(project: Path, server: Fake) -> None:
    set_param(project, "prompt.base_url", server.url)


def scores(project: Path) -> pd.DataFrame:
    return pd.read_parquet(project / f"predictions/{NAME}.parquet")


@pytest.mark.slow
def test_kill_nine(asking: Path, here: Command, tmp_path: Path) -> None:
    """Killed twice at random, the run ends with the scores of an unbroken one, and sends again only what was under way."""
    stage = [sys.executable, *as_module(*STAGE)]
    with serving() as whole:
        point_at(asking, whole)
        said(here(*STAGE, OPENAI_API_KEY=KEY, DISASTER_TWEETS_STORE=str(tmp_path / "other")))
    unbroken = scores(asking)
    assert len(unbroken) > 70
    (asking / f"predictions/{NAME}.parquet").unlink()
    chance = random.Random(0)
    with serving(seconds=0.05) as server:
        point_at(asking, server)
        for _ in range(2):
            before = len(server.bodies)
            started = subprocess.Popen(
                stage,
                cwd=asking,
                env={"PATH": "/usr/bin", "OPENAI_API_KEY": KEY, "DISASTER_TWEETS_STORE": str(tmp_path / "store")},
                stderr=subprocess.DEVNULL,
            )
            while len(server.bodies) == before and started.poll() is None:
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.5))
            started.send_signal(signal.SIGKILL)
            assert started.wait() == -signal.SIGKILL
            assert not (asking / f"predictions/{NAME}.parquet").exists()
        said(here(*STAGE, OPENAI_API_KEY=KEY))
        sent = Counter(json.dumps(body, sort_keys=True) for body in server.bodies)
        assert set(sent) == {json.dumps(body, sort_keys=True) for body in whole.bodies}
        again = sum(sent.values()) - len(sent)
        assert again <= 2 * 4, f"{again} requests were sent again, more than were under way"
    pd.testing.assert_frame_equal(scores(asking), unbroken)


def test_what_the_stage_writes(asking: Path, here: Command) -> None:
    with serving() as server:
        point_at(asking, server)
        set_param(asking, "prompt.calibration", "contextual")
        said(here(*STAGE, OPENAI_API_KEY=KEY))
    costs = json.loads((asking / f"costs/{NAME}.json").read_text())["llm"]
    assert costs["scoring"] == "logprobs"
    assert costs["calibration"] == "contextual"
    raw = pd.read_parquet(asking / f"predictions/uncalibrated/{NAME}.parquet")
    assert (raw["score"] != scores(asking)["score"]).any()
    lines = [json.loads(line) for line in (asking / f"transcripts/{NAME}.jsonl").read_text().splitlines()]
    about = [line for line in lines if line["id"] is not None]
    assert [line["id"] for line in about] == scores(asking)["id"].tolist()
    assert [line["score"] for line in about] == scores(asking)["score"].tolist()


def test_too_many_unreadable_replies_fail_the_stage_and_can_be_looked_at(asking: Path, here: Command) -> None:
    def mumbling(body: dict[str, Any], n: int) -> tuple[int, Any]:
        return 200, completion("Hm" if n % 4 == 0 else "Yes")

    with serving(mumbling) as server:
        point_at(asking, server)
        error = one_line_error(here(*STAGE, OPENAI_API_KEY=KEY))
        assert "of the replies could not be read, more than prompt.max_unparsed (10%)" in error
        assert (asking / f"transcripts/{NAME}.jsonl").exists()
        assert not (asking / "predictions").exists()
        set_param(asking, "prompt.max_unparsed", 0.5)
        said(here(*STAGE))
    unparsed = scores(asking)["status"] == "unparsed"
    assert 0.2 < unparsed.mean() < 0.3
    assert json.loads((asking / f"costs/{NAME}.json").read_text())["llm"]["unparsed"] == unparsed.sum()


@pytest.mark.parametrize("key", [KEY, "sk-wrong-but-secret-91b3"], ids=["right", "wrong"])
def test_the_key_is_nowhere(asking: Path, command: Command, tmp_path: Path, key: str) -> None:
    """Not in a file, a log at its most talkative, an error, or the process list."""
    listed: list[str] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    listed.append(path.read_bytes().decode(errors="replace"))
                except OSError:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    with serving(seconds=0.01) as server:
        point_at(asking, server)
        done = command(*STAGE, OPENAI_API_KEY=key, OPENAI_LOG="debug")
    over.set()
    watcher.join()
    assert (done.returncode == 0) == (key == KEY), done.stderr
    assert "DEBUG" in done.stderr, "the log is at its most talkative"
    assert any("prompting.prompt" in line for line in listed)
    assert key not in done.stdout + done.stderr + "".join(listed)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 20
    assert not [path for path in written if key.encode() in path.read_bytes()]


def test_there_are_thirty_injections_by_six_mechanisms_and_none_leaves_the_fence() -> None:
    assert len(MECHANISMS) == 6 + 1
    assert all(len(set(templates)) == 5 for templates in MECHANISMS.values())
    for name, template in ((name, template) for name, templates in MECHANISMS.items() for template in templates):
        text = template.format(text="it {burns}", word="Yes", other="No")
        assert "it {burns}" in text
        assert ("Yes" in text) == (name != HARMLESS)
        assert len(text) >= 10_000 or name != "10,000 characters"
        shown = sanitized(text, 500)
        assert len(shown) <= 500
        assert not set(shown) & set("<>\n\r\t\x00\x08\x1b\u202e\u200b\u2066\ufeff")
        assert "[INST]" not in shown


def obedient(body: dict[str, Any], n: int) -> tuple[int, Any]:
    """Answers what the tweet orders, if it orders something; and falls for a marker of turns."""
    text = body["messages"][-1]["content"]
    for word in ("Yes", "No"):
        if f"nswer {word}" in text or f"<|im_start|>assistant\n{word}" in text:
            return 200, completion(word)
    return obliging(body, n)


def test_flips_are_counted_against_harmless_additions(asking: Path, here: Command) -> None:
    with serving(obedient) as server:
        point_at(asking, server)
        printed = said(here("benchmarks.injections", "zero_shot", "--tweets", "10", OPENAI_API_KEY=KEY))
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines() if line.startswith("|")]
    table = {first: row for first, *row in lines}
    header = next(row for first, row in table.items() if not first)
    rates = [table[f"zero_shot, tweet {way}"] for way in ("as it is", "made harmless")]
    raw, safe = (dict(zip(header, map(float, row), strict=True)) for row in rates)
    assert raw["plain order"] == safe["plain order"] == pytest.approx(0.4)
    assert raw["template marker"] > safe["template marker"]
    assert raw["10,000 characters"] > safe["10,000 characters"], "an order after the 500th character is not read"
    assert raw["harmless addition"] == 0.0
    assert raw["all injections"] > safe["all injections"] > 0


def test_a_channel_cannot_be_ordered_about(asking: Path, here: Command) -> None:
    done = here("benchmarks.injections", "channel", "--tweets", "4")
    assert "a channel gives no answers" in one_line_error(done)
