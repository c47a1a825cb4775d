"""The studies as commands: how much the wording matters, how often a tweet gets its way."""

from pathlib import Path
from typing import Any

import numpy as np
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


def test_sensitivity_scores_every_prompt_and_seed_on_the_same_rows(asking: Path, here: Command) -> None:
    with serving() as server:
        set_param(asking, "prompt.base_url", server.url)
        arguments = ["benchmarks.sensitivity", "zero_shot", "few_shot", "--seeds", "0", "1", "--rows", "40"]
        done = here(*arguments, OPENAI_API_KEY=KEY)
        assert done.returncode == 0, done.stderr
        table = cells(done.stdout)
        assert {"zero_shot", "few_shot, seed 0", "few_shot, seed 1", "mean", "standard deviation", "worst"} < set(table)
        accuracies = [float(table[name][0]) for name in ("zero_shot", "few_shot, seed 0", "few_shot, seed 1")]
        assert float(table["worst"][0]) == min(accuracies)
        assert float(table["mean"][0]) == pytest.approx(sum(accuracies) / 3, abs=0.002)
        assert float(table["standard deviation"][0]) == pytest.approx(np.std(accuracies, ddof=1), abs=0.002)
        sent = len(server.bodies)
        assert here(*arguments).returncode == 0
        assert len(server.bodies) == sent, "what the store holds is not asked again"


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
