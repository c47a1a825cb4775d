"""What the embedded server reads before a question depends on the question alone."""

from itertools import pairwise
from typing import Any

from pipeline.llm.primer import LAST, Primer

EXAMPLES = {fold: {"role": "system", "content": f"examples of fold {fold}"} for fold in "ABC"}


def question(fold: str, text: str) -> dict[str, Any]:
    return {"messages": [EXAMPLES[fold], {"role": "user", "content": text}], "max_tokens": 5}


ASKED = [
    question("A", "one"),
    question("A", "two"),
    question("B", "three"),
    question("C", "four"),
    question("C", "five"),
]


def read_before(primer: Primer, requests: list[dict[str, Any]]) -> dict[str, tuple[str, ...]]:
    """By question, what a server that keeps what it may has read from nothing when the question comes."""
    kept: tuple[str, ...] = ()
    found = {}
    for request in requests:
        first, goes_on = primer.before(request)
        if first is not None:
            assert first["messages"] == [*request["messages"][:-1], LAST]
            begins = tuple(message["content"] for message in first["messages"][:-1])
            kept = kept if goes_on else begins
            assert kept == begins, "the server goes on from another beginning"
        else:
            assert not goes_on
            kept = ()
        found[request["messages"][-1]["content"]] = kept
    return found


def test_an_interrupted_run_reads_the_same_before_each_question() -> None:
    unbroken = read_before(Primer(ASKED), ASKED)
    for cut in range(len(ASKED)):
        assert read_before(Primer(ASKED), ASKED[cut:]) == dict(list(unbroken.items())[cut:])


def test_a_beginning_is_read_once_for_all_that_share_it() -> None:
    primer = Primer(ASKED)
    steps = [primer.before(request) for request in ASKED]
    assert [goes_on for _, goes_on in steps] == [False, True, False, False, True]
    assert [first is None for first, _ in steps] == [False, False, True, False, False]
    assert all(a != b for (a, _), (b, _) in pairwise(steps[1:4]))


def test_what_is_asked_before_the_run_is_read_from_nothing() -> None:
    assert Primer().before(ASKED[0]) == (None, False)
    assert Primer().before({"prompt": "a text to be scored"}) == (None, False)
