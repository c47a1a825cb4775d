"""The study of injections as a command: how often a tweet gets its way."""

from pathlib import Path
from typing import Any

import pytest
from conftest import Command, one_line_error, said, set_param
from fake_endpoint import KEY, completion, obliging, serving

from benchmarks.injections import HARMLESS, MECHANISMS
from pipeline.prompting.sanitize import sanitized


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


def test_flips_are_counted_against_harmless_additions(project: Path, here: Command) -> None:
    said(here("pipeline.data.prepare"))
    with serving(obedient) as server:
        set_param(project, "prompt.base_url", server.url)
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


def test_a_channel_cannot_be_ordered_about(here: Command) -> None:
    said(here("pipeline.data.prepare"))
    done = here("benchmarks.injections", "channel", "--tweets", "4")
    assert "a channel gives no answers" in one_line_error(done)
