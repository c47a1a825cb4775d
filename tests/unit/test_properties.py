"""What holds for every input that Hypothesis thinks of: cleaning, grouping, folds, contracts, replies, csv files."""

import csv
import io
import json
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from openai._models import construct_type
from openai.types.chat import ChatCompletion
from sklearn.model_selection import StratifiedGroupKFold

from pipeline.contracts import InputError, Prepared, check_predictions, predictions_frame, printable, read_yaml
from pipeline.data.clean import MENTION, URL, clean, words
from pipeline.data.folds import stratified_group_folds
from pipeline.data.near_duplicates import group_near_duplicates
from pipeline.data.prepare import assign_folds
from pipeline.data.source import read_file, validate
from pipeline.prompting.answers import Answer
from pipeline.prompting.faults import UnreadableError
from pipeline.prompting.replies import read_chat
from pipeline.prompting.scoring import parse_reply
from pipeline.spreadsheet import as_it_was, inert

ANY = st.text(st.characters(exclude_categories=()), max_size=60)
"""Any string of Python's, surrogates among them."""
PIECES = ["http", "https://t.co/x", "www.", "@", "@a", "#", "RT", ":", "'", "’", "…", "Fire", "🔥", "＠", "ｗ"]
PIECES += [" ", "\n", "\u200d"]
ENTITIES = ["&amp;", "&lt;", "&#x40;", "&amp;amp;", "&nbsp;", "&eacute;"]
BROKEN = ["&", "amp;", "\x89Û", "\x89Û_", "\x89ÛÏ", "åÊ", "Ã©", "â€™", "é", "\ufeff", "\x85", "\u2028"]


def made_of(*pieces: str) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(pieces), max_size=12).map("".join)


TWEET = made_of(*PIECES, *ENTITIES, *BROKEN)
"""What the tweets of this data set are made of, put together at random."""
WHOLE = made_of(*PIECES, *ENTITIES) | st.text(
    st.characters(min_codepoint=0x100, exclude_categories=("Cs",)), max_size=40
)
"""Tweets that were not damaged: no characters that decoding wrongly leaves behind, no entities in pieces."""


def said_of(call: Callable[..., object], *arguments: object) -> str:
    """The `InputError` that a call ends with; empty if it ends well."""
    try:
        call(*arguments)
    except InputError as error:
        return str(error)
    return ""


@given(ANY | TWEET)
def test_a_clean_tweet_is_one_line_that_says_something(text: str) -> None:
    cleaned = clean(text)
    assert cleaned == " ".join(cleaned.split()) != ""
    assert len(cleaned.splitlines()) == 1


@given(WHOLE)
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    """What is mended may be next to something that then can be mended too: of damaged tweets it does not hold."""
    cleaned = clean(text)
    assert clean(cleaned) == cleaned


@given(ANY | TWEET, st.sampled_from(["http://t.co/abc", "https://x.y/z", "www.example.org", "@someone", "..."]))
def test_words_do_not_depend_on_links_and_mentions(text: str, added: str) -> None:
    found = words(clean(text))
    assert all(word and word == word.lower() and word != URL for word in found)
    assert MENTION not in found
    assert words(f"{clean(text)} {clean(added)}") == found


TEXTS = st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=7), min_size=1, max_size=10)


@given(TEXTS, st.randoms(use_true_random=False))
def test_groups_do_not_depend_on_the_order_of_the_rows(texts: list[list[str]], random: Any) -> None:
    order = list(range(len(texts)))
    random.shuffle(order)
    found = group_near_duplicates(texts, 0.5)
    shuffled = group_near_duplicates([texts[i] for i in order], 0.5)
    assert ((shuffled[:, None] == shuffled) == (found[order][:, None] == found[order])).all()


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=8),
    st.integers(2, 8),
    st.integers(0, 99),
)
@example([(2, 0), (0, 8), (1, 0), (0, 9), (10, 0)], 5, 0)
def test_no_fold_is_empty_and_folds_are_scikit_learns_where_none_of_its_own_is(
    counts: list[tuple[int, int]], folds: int, seed: int
) -> None:
    """Of few uneven groups, so many rows of either label in each: scikit-learn leaves folds empty (its issue 34828)."""
    targets = np.repeat(np.tile([0, 1], len(counts)), np.ravel(counts))
    groups = np.repeat(np.arange(2 * len(counts)) // 2, np.ravel(counts))
    if folds > min(len(set(groups[targets == label])) for label in (0, 1)):
        assert "is too many" in said_of(assign_folds, targets, groups, folds, seed)
    assume(folds <= min(len(set(groups)), np.bincount(targets, minlength=2).max()))
    found = stratified_group_folds(targets, groups, folds, seed)
    assert set(found) == set(range(folds))
    assert len({*zip(groups, found, strict=True)}) == len(set(groups)), "no group is split"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a label is rarer than there are folds
        splits = StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(targets, targets, groups)
        theirs = [held_out for _, held_out in splits]
    if all(map(len, theirs)):
        assert all((found[held_out] == fold).all() for fold, held_out in enumerate(theirs))


ROWS = 12


def prepared_rows() -> Prepared:
    train = pd.DataFrame({"id": np.arange(8) * 3, "fold": np.arange(8) % 2})
    return Prepared(train, pd.DataFrame({"id": np.arange(4) - 9}), "digest")


def made_rows() -> pd.DataFrame:
    prepared = prepared_rows()
    scored = (("train", prepared.train), ("test", prepared.test))
    return pd.concat([predictions_frame(tweets, split, np.full(len(tweets), 0.5)) for split, tweets in scored])


CORRUPTIONS = {
    "id": st.integers(-(2**62), 2**62),
    "fold": st.integers(-128, 127),
    "split": st.sampled_from(["train", "test", "", "Train"]) | ANY,
    "status": st.sampled_from(["ok", "unparsed", "", "OK"]) | ANY,
    "score": st.floats().filter(lambda score: not 0 <= score <= 1),
}


@given(st.data(), st.integers(0, ROWS - 1))
def test_any_one_cell_that_is_wrong_is_refused(data: st.DataObject, row: int) -> None:
    frame, column = made_rows(), data.draw(st.sampled_from([*CORRUPTIONS]))
    values = frame[column].tolist()
    value = data.draw(CORRUPTIONS[column])
    assume(value != values[row])
    values[row] = value
    with pytest.raises(InputError, match="here: "):
        check_predictions(frame.assign(**{column: values}), prepared_rows(), "generative", "here")


@given(st.lists(st.integers(0, ROWS - 1), max_size=ROWS + 2) | st.permutations(range(ROWS)))
def test_rows_that_moved_or_are_missing_are_refused(rows: list[int]) -> None:
    assume(rows != list(range(ROWS)))
    kept = made_rows().iloc[rows].reset_index(drop=True)
    with pytest.raises(InputError, match="here: "):
        check_predictions(kept, prepared_rows(), "generative", "here")


@given(st.text(max_size=40) | st.text("[]{}&*!?:-#|>%@`'\"\t\n ,a1.<=~", max_size=40))
@example("? [a]\n: b")
@example("2026-02-30")
@example("0o9: 0b3")
@example("a: &a [*a]")
@example("<<: 3")
def test_any_text_is_yaml_or_one_line(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8")
    said = said_of(read_yaml, path)
    assert "any.yaml: " in said or not said


@given(ANY)
def test_what_is_printed_is_one_line(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    shown.encode()


CELL = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)
COLUMNS = {name: name for name in ("id", "keyword", "location", "text")}


def read(raw: bytes, columns: dict[str, str], folder: Path) -> pd.DataFrame:
    (folder / "a.csv").write_bytes(raw)
    return read_file(folder, "a.csv", columns)


@given(
    st.lists(st.tuples(CELL, CELL, CELL.filter(str.strip)), min_size=1, max_size=6),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_a_csv_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]], end: str
) -> None:
    file = io.StringIO(newline="")
    # Python's writer leaves a line break without quotes unless it is the kind that ends its rows; to all readers it ends one
    bare = any(mark in cell for row in rows for cell in row for mark in "\r\n" if mark not in end)
    writer = csv.writer(file, lineterminator=end, quoting=csv.QUOTE_ALL if bare else csv.QUOTE_MINIMAL)
    writer.writerow(COLUMNS)
    writer.writerows([number, *row] for number, row in enumerate(rows))
    found = read(file.getvalue().encode(), COLUMNS, tmp_path_factory.getbasetemp())
    assert list(found.itertuples(index=False, name=None)) == [(str(n), *row) for n, row in enumerate(rows)]
    assert validate(found, None, "a.csv", COLUMNS)["id"].tolist() == list(range(len(rows)))


@given(st.binary(max_size=40) | st.text('id,text\n\r"; =1\ufeff\0é', max_size=40).map(str.encode))
def test_any_bytes_are_tweets_or_one_line(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    columns, folder = {"id": "id", "text": "text"}, tmp_path_factory.getbasetemp()
    for content in (raw, b"id,text\n" + raw):
        said = said_of(lambda raw: validate(read(raw, columns, folder), None, "a.csv: ", columns), content)
        assert "a.csv: " in said or not said


@given(ANY)
def test_a_cell_for_a_spreadsheet_is_read_as_it_was(text: str) -> None:
    assert as_it_was(inert(text)) == text
    assert inert(text)[:1] not in [*"=+-@"]


LABELS = ["No", "Yes"]
REPLY = st.lists(
    st.sampled_from(
        [*"{}[]():,.\"'*`\n -", "Yes", "no", "YES", "or", "Answer", '"label"', "<think>", "</think>", "well", "🔥"]
    ),
    max_size=14,
).map("".join)


@given(ANY | REPLY)
def test_any_reply_is_a_label_or_none(reply: str) -> None:
    found = parse_reply(reply, LABELS)
    assert found in (None, 0, 1)
    if found is not None:
        assert LABELS[found].lower() in reply.lower()
        assert parse_reply(reply, LABELS[::-1]) == 1 - found


@given(
    st.sampled_from([0, 1]),
    st.sampled_from([str, str.upper, str.lower]),
    st.sampled_from(['"', "", " ", "**", "`", "("]),
    REPLY,
)
def test_a_stated_label_is_read(label: int, case: Any, mark: str, thought: str) -> None:
    word = case(LABELS[label])
    for reply in (
        f"{mark}{word}{mark}",
        json.dumps({"label": word}, indent=2),
        f"```json\n{json.dumps({'label': word})}\n```",
        f"Answer: {mark}{word}{mark}",
        f"<think>{thought}</think>{word}.",
    ):
        assert parse_reply(reply, LABELS) == label, reply


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def completions(draw: st.DrawFn) -> object:
    """A chat completion in which one thing is any JSON."""
    token = {"token": "Yes", "logprob": -0.1, "top_logprobs": [{"token": "Yes", "logprob": -0.1}]}
    choice = {"index": 0, "message": {"role": "assistant", "content": "Yes"}, "logprobs": {"content": [token]}}
    usage = {"prompt_tokens": 3, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 2}}
    whole: Any = {"id": "1", "choices": [choice], "usage": usage}
    place = draw(
        st.sampled_from([whole, choice, choice["message"], choice["logprobs"], token, token["top_logprobs"][0], usage])
    )
    place[draw(st.sampled_from([*place]))] = draw(JSON)
    return draw(st.sampled_from([whole, whole, draw(JSON)]))


@given(completions())
def test_what_comes_over_the_wire_is_an_answer_or_unreadable(sent: object) -> None:
    with suppress(UnreadableError):
        assert isinstance(read_chat(construct_type(type_=ChatCompletion, value=sent), 0.1), Answer)
