"""What the embedded server reads before a question depends on the question alone."""

from typing import Any

from pipeline.prompting.send import Primer

EXAMPLES = {fold: {"role": "system", "content": f"examples of fold {fold}"} for fold in "ABC"}


def question(fold: str, text: str) -> dict[str, Any]:
    return {"messages": [EXAMPLES[fold], {"role": "user", "content": text}], "max_tokens": 5}


ASKED = [question(fold, text) for fold, text in zip("AABCC", ("one", "two", "three", "four", "five"), strict=True)]


def read_before(primer: Primer, requests: list[dict[str, Any]]) -> dict[str, tuple[str, ...]]:
    """By question, what a server that keeps what it may has read from nothing when the question comes."""
    kept: tuple[str, ...] = ()
    found = {}
    for request in requests:
        first, goes_on = primer.before(request)
        assert first["messages"] == [*request["messages"][:-1], Primer.LAST]
        begins = tuple(message["content"] for message in first["messages"][:-1])
        kept = kept if goes_on else begins
        assert kept == begins, "the server goes on from another beginning"
        found[request["messages"][-1]["content"]] = kept
    return found


def test_an_interrupted_run_reads_the_same_before_each_question() -> None:
    """As does a question alone: the first after an interruption."""
    unbroken = read_before(Primer(), ASKED)
    for cut in range(len(ASKED)):
        assert read_before(Primer(), ASKED[cut:]) == dict(list(unbroken.items())[cut:])


def test_a_beginning_is_read_once_for_neighbours_that_share_it() -> None:
    primer = Primer()
    assert [primer.before(request)[1] for request in ASKED] == [False, True, False, False, True]
