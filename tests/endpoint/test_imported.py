"""Answers that were got elsewhere: what a line says, what is refused, and that they are compared without a key."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import Command, one_line_error, prepared_folder, said, set_param
from fake_endpoint import KEY, serving

from pipeline.compare import cascade
from pipeline.compare.cascade import price_of
from pipeline.contracts import InputError, Prepared, read_costs, read_predictions, read_prepared
from pipeline.prompting import imported
from pipeline.prompting.debias import platt

Line = dict[str, Any]
FIELDS = {"label_words": ["No", "Yes"], "calibration": "none", "max_unparsed": 0.1}


@pytest.fixture
def importing(sample: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Prepared]:
    """Go to a folder with these lines in imports/gpt; call it again for others."""
    prepared = prepared_folder(
        tmp_path,
        monkeypatch,
        sample.train.head(200),
        sample.test.head(20),
        imported={"gpt": FIELDS},
        classifiers={"imported": ["gpt"]},
    )
    monkeypatch.setattr(sys, "argv", ["imported", "gpt"])

    def write(*files: list[Line] | bytes, **changed: object) -> Prepared:
        shutil.rmtree("imports", ignore_errors=True)
        Path("imports/gpt").mkdir(parents=True)
        set_param(tmp_path, "imported.gpt", FIELDS | changed)
        for number, lines in enumerate(files):
            text = lines if isinstance(lines, bytes) else "".join(json.dumps(line) + "\n" for line in lines).encode()
            Path(f"imports/gpt/{number}.jsonl").write_bytes(text)
        return prepared

    return write


def scores() -> pd.DataFrame:
    return read_predictions(Path("predictions/imported_gpt.parquet"), read_prepared()).train


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("score", [0.25, 1, 0, None], [0.25, 1, 0, None]),
        ("reply", ["Yes.", "no, it is a song", '{"label": "Yes"}', "hm"], [1, 0, 1, None]),
        ("label", [1, 0, " yes", "No"], [1, 0, 1, 0]),
        ("label", ["1", " 0", "1.0", "false"], [1, 0, 1, 0]),
        ("label", [1.0, True, False, 0.0], [1, 1, 0, 0]),
    ],
)
@pytest.mark.parametrize("around", [b"", b"\xef\xbb\xbf\n \n"], ids=["", "a mark and blank lines"])
def test_each_kind_of_line_becomes_a_score(
    importing: Callable[..., Prepared], kind: str, values: list[object], expected: list[float | None], around: bytes
) -> None:
    ids = read_prepared().train["id"].tolist()[:4]
    lines = [json.dumps({"id": i, kind: value}).encode() for i, value in zip(ids, values, strict=True)]
    importing(around + b"\n".join(lines) + b"\n" + around[3:], max_unparsed=0.3)
    imported.main()
    found = scores()
    assert found["id"].tolist() == ids
    assert [None if np.isnan(one) else one for one in found["score"]] == expected
    llm = read_costs("imported_gpt").llm
    assert llm is not None
    assert (llm.scoring, llm.requests, llm.new_requests) == (kind, 4, 0)
    assert llm.unparsed == expected.count(None)


def test_costs_are_what_all_lines_say_and_nothing_else(
    importing: Callable[..., Prepared], capsys: pytest.CaptureFixture[str]
) -> None:
    ids = read_prepared().train["id"].tolist()
    told = {"model": "gpt-9", "prompt_tokens": 10, "seconds": 0.5}
    importing(
        [{"id": i, "score": 0.3, **told} for i in ids[:10]], [{"id": ids[10], "score": 0.3, **told, "money": 2.0}]
    )
    imported.main()
    costs = read_costs("imported_gpt")
    llm = costs.llm
    assert llm is not None
    assert (llm.model, llm.endpoint, llm.prompt_tokens, llm.seconds) == ("gpt-9", "imported", 110, 5.5)
    assert (costs.latency_ms_p50, costs.tweets_per_second) == (500, 2), "one answer after the other"
    assert (llm.money, llm.completion_tokens, llm.cached_tokens, llm.prompt_version) == (None, None, None, None)
    predictions = read_predictions(Path("predictions/imported_gpt.parquet"), read_prepared())
    assert price_of(predictions) is None, "a cascade cannot weigh what it does not know"
    importing([{"id": i, "score": 0.3} for i in ids[:10]])
    imported.main()
    assert read_costs("imported_gpt").latency_ms_p50 is None
    set_param(Path(), "cascade.draws", 100)
    cascade.main()
    assert "left out imported_gpt: what it takes is not known" in Path("study/cascade/table.md").read_text()
    assert "10 train and 0 test tweets" in capsys.readouterr().out


def test_test_tweets_count_if_all_are_there(
    importing: Callable[..., Prepared], capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = read_prepared()
    train, test = ([{"id": i, "score": 0.3} for i in rows["id"].tolist()] for rows in (prepared.train, prepared.test))
    importing([*test[:5], *train[::-1]])
    imported.main()
    assert "left out: 5 of 20 test tweets, which count only if all are there" in capsys.readouterr().out
    assert read_predictions(Path("predictions/imported_gpt.parquet"), prepared).test_rows == "none"
    importing(test, train)
    imported.main()
    found = read_predictions(Path("predictions/imported_gpt.parquet"), prepared)
    assert (found.test_rows, len(found.test), len(found.train)) == ("refit", 20, 200)


def test_scores_are_calibrated_out_of_fold_as_those_of_prompts_are(importing: Callable[..., Prepared]) -> None:
    train = read_prepared().train
    raw = np.clip(0.8 + 0.15 * train["target"] - 0.1 * np.random.default_rng(0).random(len(train)), 0, 1).to_numpy()
    importing(
        [{"id": int(i), "score": float(one)} for i, one in zip(train["id"], raw, strict=True)], calibration="platt"
    )
    imported.main()
    expected = platt(raw, train["fold"].to_numpy(), train["train_target"].to_numpy(dtype=float))
    assert scores()["score"].to_numpy() == pytest.approx(expected, abs=1e-12)
    before = read_predictions(Path("predictions/uncalibrated/imported_gpt.parquet"), read_prepared())
    assert before.train["score"].to_numpy() == pytest.approx(raw)
    assert read_costs("imported_gpt").llm.calibration_labels == train["train_target"].notna().sum()


REFUSED: list[tuple[str, str]] = [
    ('{"id": 1, "score": 0.5}', r"0\.jsonl: line 1\.id: 1 is not among the prepared tweets"),
    ('{"id": ID, "score": 1.5}', r"line 1\.score: .*less than or equal to 1 \(it is 1\.5\)"),
    ('{"id": "ID", "score": 0.5}', r"line 1\.id: "),
    ('{"id": ID, "scores": 0.5}', r"line 1\.scores: unknown; did you mean score\?"),
    ('{"id": ID, "score": 0.5, "label": 1}', r"line 1: must have one of score, reply and label"),
    ('{"id": ID, "score": 0.5, "tokens": 3}', r"line 1\.tokens: unknown"),
    ('{"id": ID, "label": "maybe"}', r"line 1\.label: 'maybe' is none of 0, 1, No, Yes \(label_words\)"),
    ('{"id": ID, "label": 2}', r"line 1\.label: 2 is none of"),
    ('{"id": ID, "score": 0.5}\n{"id": ID, "score": 0.5}', r"line 2\.id: ID is there twice, in .*line 1 too"),
    (
        '{"id": ID, "score": 1}\n{"id": ID, "label": 1}',
        r"line 2: a label, where .*line 1 is a score; one folder, one kind",
    ),
    ('{"id": ID, "score": 0.5}\n{"id"', r"line 2: not JSON"),
    ('{"id": ID, "score": 0.5, "prompt_tokens": ' + "9" * 400 + "}", r"line 1\.prompt_tokens: .*less than or equal"),
    ('{"id": ID, "label": ' + "[" * 9999, r"line 1: not JSON: recursion limit"),
    ('{"id": ID, "label": null}', r"line 1\.label"),
    ('{"id": ID, "reply": "perhaps"}', r"100% of the replies could not be read.*label_words those that the LLM"),
    ("", r"no answer is about a train tweet"),
    ("no folder", r"imports/gpt: no such folder, or no \*\.jsonl in it"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_what_is_wrong_is_said_in_one_line_with_its_place(
    importing: Callable[..., Prepared], text: str, message: str
) -> None:
    own = str(read_prepared().train["id"].iloc[0])
    if text != "no folder":
        importing(text.replace("ID", own).encode())
    with pytest.raises(InputError, match=message.replace("ID", own)) as error:
        imported.main()
    assert "\n" not in str(error.value)
    assert not Path("predictions").exists()


def test_answers_of_another_key_run_the_stage_without_one(project: Path, here: Command, tmp_path: Path) -> None:
    """From transcripts alone: no key, no endpoint, nothing sent, the same predictions."""
    stage = ("pipeline.prompting.prompt", "zero_shot")
    said(here("pipeline.data.prepare"))
    set_param(project, "prompt.train_rows", 40)
    with serving() as server:
        set_param(project, "prompt.base_url", server.url)
        other = {"DISASTER_TWEETS_STORE": str(tmp_path / "of somebody else"), "OPENAI_API_KEY": KEY}
        said(here(*stage, **other))
    paid = (project / "predictions/prompt_zero_shot.parquet").read_bytes()
    shutil.move(project / "transcripts", tmp_path / "given")
    shutil.rmtree(project / "predictions")
    assert "OPENAI_API_KEY is not set" in one_line_error(here(*stage))
    files = [str(path) for path in (tmp_path / "given").glob("*.jsonl")]
    assert "answers were new to the store" in here("tools.answers", "rebuild", *files).stdout
    assert "0 new requests" in said(here(*stage))
    assert (project / "predictions/prompt_zero_shot.parquet").read_bytes() == paid
