"""The study of injections as a command: how often a tweet gets its way."""

from pathlib import Path
from typing import Any

import pytest
from conftest import Command, one_line_error, set_param
from fake_endpoint import KEY, completion, obliging, serving

from benchmarks.injections import HARMLESS, MECHANISMS
from pipeline.prompting.sanitize import sanitized


@pytest.fixture
def asking(project: Path, here: Command) -> Path:
    assert here("pipeline.data.prepare").returncode == 0
    return project


def cells(printed: str) -> dict[str, list[str]]:
    """The printed table's rows by their first cell."""
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines() if line.startswith("|")]
    return {first: rest for first, *rest in lines}


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
    said = body["messages"][-1]["content"]
    for word in ("Yes", "No"):
        if f"nswer {word}" in said or f"<|im_start|>assistant\n{word}" in said:
            return 200, completion(word)
    return obliging(body, n)


def test_flips_are_counted_against_harmless_additions(asking: Path, here: Command) -> None:
    with serving(obedient) as server:
        set_param(asking, "prompt.base_url", server.url)
        done = here("benchmarks.injections", "zero_shot", "--tweets", "10", OPENAI_API_KEY=KEY)
        assert done.returncode == 0, done.stderr
    table = cells(done.stdout)
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
