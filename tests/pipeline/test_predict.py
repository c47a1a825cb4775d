"""New texts, scored: by every kind of classifier, from every format, in constant memory, and nothing half-written."""

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, SAMPLE, prepared_folder, python, said
from fake_endpoint import KEY, completion, serving
from safetensors.numpy import save_file
from scipy.special import expit

from benchmarks.million import measure
from pipeline import predict as module
from pipeline.compare import blend
from pipeline.contracts import Costs, InputError, Prepared, read_costs, read_predictions, read_prepared, write_costs
from pipeline.counts import logistic, naive_bayes
from pipeline.data.source import DataParams
from pipeline.new_texts import prompted
from pipeline.new_texts.in_words import words_that_spoke
from pipeline.new_texts.reading import Format, batches
from pipeline.new_texts.scorers import check_labels, choose, open_scorer
from pipeline.new_texts.writing import decisions
from pipeline.predict import TextClassifier, last_opened, predict
from pipeline.prompting import prompt
from pipeline.stage import main_of
from pipeline.stats.threshold import reaching

FIRES = ["Forest fire near La Ronge, evacuated", "I love this song", "Earthquake kills two in Nepal"]


@pytest.fixture(scope="module")
def made(sample: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the twins and their blend were run on a part of the sample."""
    folder = tmp_path_factory.mktemp("project")
    test = sample.test.head(60)
    with pytest.MonkeyPatch.context() as patch:
        prepared_folder(folder, patch, sample.train.head(300), test, blend={"draws": 100}, logistic={"C": [0.2]})
        for stage in (naive_bayes, logistic, blend):
            main_of(stage.__name__)()
    raw = pd.read_csv(SAMPLE / "test.csv", dtype={"id": "int64"}).set_index("id").loc[test["id"]].reset_index()
    raw.to_csv(folder / "new.csv", index=False)
    raw.to_parquet(folder / "new.parquet")
    raw.to_json(folder / "new.jsonl", orient="records", lines=True, force_ascii=False)
    return folder


@pytest.fixture
def folder(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made)
    return made


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["predict", *map(str, arguments)])
    module.main()


def expected(name: str) -> pd.Series:
    where = Path("blend" if name == "blend" else "predictions")
    return read_predictions(where / f"{name}.parquet", read_prepared()).test["score"]


def read(path: Path) -> pd.DataFrame:
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    return pd.read_csv(path) if path.suffix == ".csv" else pd.read_json(path, lines=True)


@pytest.mark.parametrize(
    ("source", "target", "batch"), [("csv", "parquet", 7), ("parquet", "jsonl", 59), ("jsonl", "csv", 60)]
)
def test_test_tweets_as_new_ones_get_the_same_scores(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, target: str, batch: int
) -> None:
    """From raw files, whatever the format and the size of the batches: they are read and cleaned as `prepare` does."""
    out = tmp_path / f"scores.{target}"
    call(monkeypatch, "--classifier", "naive_bayes", "--input", f"new.{source}", "--output", out, "--batch", batch)
    found, test = read(out), read_prepared().test
    assert list(found) == ["id", "score", "target", "label"]
    assert found["id"].astype(str).tolist() == test["id"].astype(str).tolist()
    assert found["score"].to_numpy() == pytest.approx(expected("naive_bayes").to_numpy(), abs=1e-12)
    assert (found["target"] == (found["score"] > 0.5)).all()
    assert found["label"].tolist() == ["disaster" if one else "not disaster" for one in found["target"]]
    assert [path.name for path in tmp_path.iterdir()] == [out.name], "no partial file is left"


def test_every_column_is_as_prepare_makes_it(folder: Path, data_params: DataParams) -> None:
    with Path("new.csv").open("rb") as file:
        found = pd.concat([batch.tweets for batch in batches(file, "csv", data_params.columns, 17, "new.csv")])
    columns = ["text", "keyword", "location", "raw_text"]
    pd.testing.assert_frame_equal(
        found[columns].reset_index(drop=True), read_prepared().test[columns], check_dtype=False
    )


def test_the_blend_of_test_tweets_as_new_ones_is_the_blend(folder: Path) -> None:
    tweets = read_prepared().test
    with open_scorer("blend") as score:
        whole, halves = score(tweets), [score(tweets.head(30)), score(tweets.tail(30))]
    assert whole == pytest.approx(expected("blend").to_numpy(), abs=1e-12)
    assert np.concatenate(halves) == pytest.approx(whole, abs=1e-12)
    weights = pd.read_csv("blend/weights.csv").query("fold == -1")
    assert (weights["weight"] > 0).any()


def test_from_python(folder: Path) -> None:
    scores = predict(FIRES, "naive_bayes")
    assert scores.shape == (3,)
    assert scores[1] < min(scores[0], scores[2])
    assert predict(FIRES[:1], "naive_bayes")[0] == pytest.approx(scores[0], abs=1e-12)
    with pytest.raises(InputError, match="texts: number 2, column text: must not be empty"):
        predict(["a", " "], "naive_bayes")


def test_one_text_is_one_text_and_stays_one_from_any_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert predict("Forest fire", "naive_bayes") == predict(["Forest fire"], "naive_bayes")
    opened = Counter[str]()
    monkeypatch.setattr(module, "open_scorer", lambda name: opened.update([name]) or open_scorer(name))
    last_opened.cache_clear()
    for _ in range(3):
        predict(FIRES, "naive_bayes")
    assert opened == {"naive_bayes": 1}
    monkeypatch.chdir(tmp_path)
    with TextClassifier("naive_bayes", folder) as classifier:
        both = classifier.predict_proba(pd.DataFrame({"text": FIRES, "keyword": None}))
        assert classifier.classes_.tolist() == [0, 1]
        assert (classifier.predict(FIRES) == (both[:, 1] > classifier.threshold)).all()
    assert both.shape == (3, 2)
    assert both.sum(axis=1) == pytest.approx(1)
    with contextlib.chdir(folder):
        assert both[:, 1] == pytest.approx(predict(FIRES, "naive_bayes"), abs=1e-12)


def test_typed_texts_are_answered_in_words(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call(monkeypatch, "Forest fire", "a song", "--classifier", "naive_bayes", "--explain")
    fire, song = capsys.readouterr().out.splitlines()
    score = predict("Forest fire", "naive_bayes")[0]
    assert fire.startswith(f"{'disaster' if score > 0.5 else 'not disaster':12}  {score:.2f}  Forest fire   (")
    assert re.search(r"\(\w+ [+-]\d\.\d, \w+ [+-]\d\.\d\)$", fire)
    assert "  a song   (" in song
    call(monkeypatch, "Forest fire", "--classifier", "all")
    first, *others = capsys.readouterr().out.splitlines()
    assert first == "Forest fire"
    assert {line.split()[-1] for line in others} == {path.name for path in Path("models").iterdir()}


def test_a_word_speaks_by_what_the_log_odds_lose_without_it() -> None:
    weights = {"fire": 2.0, "near": -0.5, "a": 0.0}

    def score(tweets: pd.DataFrame) -> np.ndarray:
        return expit([sum(weights[word] for word in text.split()) for text in tweets["text"]])

    tweets = pd.DataFrame({"text": ["a fire near", "fire"], "raw_text": ["a fire near", "fire"]})
    assert words_that_spoke(score, tweets, score(tweets)) == ["fire +2.0, near -0.5, a +0.0", ""]


@pytest.mark.parametrize("wanted", ["recall", "precision"])
def test_a_threshold_is_found_on_scores_of_rows_that_were_not_learnt(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wanted: str
) -> None:
    call(monkeypatch, "a", "--classifier", "naive_bayes", f"--{wanted}", 0.9)
    said = capsys.readouterr().err
    threshold = float(re.search(r"threshold ([\d.]+)", said)[1])  # type: ignore[index]
    prepared = read_prepared()
    scores = read_predictions(Path("predictions/naive_bayes.parquet"), prepared).train["score"].to_numpy()
    targets, called = prepared.train["target"].to_numpy(), scores > threshold - 5e-4
    reached = {"recall": called[targets == 1].mean(), "precision": targets[called].mean()}
    assert 0.89 < reached[wanted] < 0.93
    with pytest.raises(ValueError, match="no threshold"):
        reaching(np.array([1, 0]), np.array([0.1, 0.9]), precision=0.9)
    assert reaching(np.array([0, 1, 1, 0]), np.array([0.1, 0.2, 0.3, 0.4]), recall=0.9)[1:] == (1.0, 2 / 3)


def test_bad_rows_are_left_out_and_named_if_that_is_asked_for(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "=fire"}\n{bad\n{"text": 5}\n{"text": "a song"}\n')
    out = tmp_path / "out.csv"
    files = ("--input", tmp_path / "a.jsonl", "--output", out)
    call(monkeypatch, *files, "--classifier", "naive_bayes", "--on-error", "skip", "--with-text")
    rows = pd.read_csv(out)
    assert rows["row"].tolist() == [1, 4]
    assert rows["text"].tolist() == ["'=fire", "a song"], "no formula"
    bad = (tmp_path / "out.skipped.txt").read_text().splitlines()
    assert [line.partition("a.jsonl: ")[2][:6] for line in bad] == ["line 2", "line 3"]


def test_the_submission_says_who_decides_and_where(tmp_path: Path) -> None:
    path = tmp_path / "choice.json"
    with pytest.raises(InputError, match=r"choice\.json: no such file; name a classifier \(--classifier\)"):
        choose(None, path)
    assert choose("logistic", path) == ("logistic", 0.5)
    rules = [{"classifier": "blend", "threshold": 0.4}, {"classifier": "logistic", "threshold": 0.61}]
    path.write_text(json.dumps({"chosen": rules[0], "candidates": rules}))
    assert choose(None, path) == ("blend", 0.4)
    assert choose("logistic", path) == ("logistic", 0.61)
    assert choose("lora_minilm", path) == ("lora_minilm", 0.5)
    path.write_text("{}")
    with pytest.raises(InputError, match="not what the stage submission writes"):
        choose(None, path)


class Stream(io.StringIO):
    """Standard input whose bytes are given."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.buffer = io.BytesIO(content)


@pytest.mark.parametrize(
    ("kind", "content", "row"),
    [
        ("text", "\n".join(FIRES) + "\n", "row"),
        ("csv", "text\n" + "\n".join(f'"{text}"' for text in FIRES) + "\n", "row"),
        ("jsonl", "".join(json.dumps({"text": text, "more": 1}) + "\n" for text in FIRES), "row"),
        ("jsonl", "".join(json.dumps({"text": text, "id": text[:3]}) + "\n" for text in FIRES), "id"),
    ],
)
def test_standard_input_to_standard_output(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: Format,
    content: str,
    row: str,
) -> None:
    monkeypatch.setattr(sys, "stdin", Stream(content.encode()))
    call(monkeypatch, "--classifier", "naive_bayes", "--format", kind)
    out = capsys.readouterr().out
    found = pd.read_json(io.StringIO(out), lines=True) if kind == "jsonl" else pd.read_csv(io.StringIO(out))
    assert list(found) == [row, "score", "target", "label"]
    assert found[row].tolist() == ([1, 2, 3] if row == "row" else ["For", "I l", "Ear"])
    assert found["score"].to_numpy() == pytest.approx(predict(FIRES, "naive_bayes"), abs=1e-12)


BAD: list[tuple[str, bytes, str]] = [  # what is no csv at all: test_malformed
    ("a.csv", b"id,text\n1,a\n2,  \n", r"a\.csv: row 2, column text: must not be empty"),
    ("a.csv", b"id,text\n1,a\n2,b\n3\n", r"a\.csv: line 4 \(row 3\): 1 fields, and the header has 2"),
    ("a.csv", b"id,text\n1,a\n2,caf\xe9\n", r"a\.csv: row 2, column text: not UTF-8 \(byte 0xe9\); save it as UTF-8"),
    ("a.csv", b"id,text\n", r"a\.csv: no texts"),
    ("a.csv", b"id,text\n-1,a\n=cmd|'/C calc'!A0,b\n", r"column id: .* would be a formula in a spreadsheet"),
    ("a.jsonl", b'{"text": "a"}\n' + b"[" * 100_000, r"a\.jsonl: line 2: not JSON"),
    ("a.jsonl", b'{"text": "a"}\n{"txt": "b"}\n', r"a\.jsonl: line 2: no column text"),
    ("a.jsonl", b'{"text": "a"}\n{"text": 5}\n', r"a\.jsonl: line 2, column text: 5 is no text"),
    ("a.jsonl", b'{"text": "a"}\n["b"]\n', r"a\.jsonl: line 2: not an object"),
    ("a.jsonl", b'{"text": "a"}\n{"text": "\xff"}\n', r"a\.jsonl: line 2: not UTF-8 \(byte 0xff\)"),
    ("a.jsonl", b'{"text": "a"}\n{"text": "\\ud800"}\n', r"a\.jsonl: line 2: \\ud800 is half of a character"),
    ("a.jsonl", b'{"id": 1, "text": "a"}\n{"text": "b"}\n', r"a\.jsonl: line 2: no id, unlike the lines before"),
    ("a.jsonl", b'{"text": "a", "keyword": ["x"]}\n', r"a\.jsonl: line 1, column keyword: \['x'\] is no text"),
    ("a.jsonl", b'{"id": 1.5, "text": "a"}\n', r"a\.jsonl: line 1, column id: 1\.5 is neither"),
    ("a.txt", b"\n \n", r"a\.txt: no texts"),
    ("a.txt", b"a\nb\xff\n", r"a\.txt: line 2, column text: not UTF-8 \(byte 0xff\)"),
    ("a.parquet", b"PAR1 and no more", r"a\.parquet: not a parquet file"),
    ("a.dat", b"a\n", r"a\.dat: what is in it\?"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD)
def test_bad_input_is_one_line_with_its_place_and_nothing_is_half_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        call(
            monkeypatch,
            *("--classifier", "naive_bayes", "--batch", 1),
            *("--input", tmp_path / name, "--output", tmp_path / "out.csv"),
        )
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("kind", "content", "ids"),
    [
        ("text", b"a\n\n \r\nb\n\n", [1, 4]),
        (
            "jsonl",
            b'\xef\xbb\xbf\n{"text": "a", "user": "cut \\ud83d"}\n\n \n{"text": "b \\ud83d\\udd25", "keyword": "c"}\n\n',
            [2, 5],
        ),
        ("csv", b"\ntext\na\n\nb\n\n \n", [1, 2]),
        ("csv", b"sep=;\nid;text\n\n7;a\n\n8;b\n \n", ["7", "8"]),
    ],
)
@pytest.mark.parametrize("size", [1, 10])
def test_blank_lines_are_no_texts(
    data_params: DataParams, kind: Format, content: bytes, ids: list[object], size: int
) -> None:
    found = [*batches(io.BytesIO(content), kind, data_params.columns, size, "here")]
    assert [one for batch in found for one in batch.ids] == ids
    assert [text[0] for batch in found for text in batch.tweets["text"]] == ["a", "b"]


def test_classifiers_of_other_labels_are_refused(folder: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    report.write_text('{"labels": ["ham", "spam"]}')
    with pytest.raises(InputError, match="have learnt to tell ham / spam; run `dvc repro`"):
        check_labels(report)


def test_ids_that_could_not_be_told_from_decisions_are_refused(data_params: DataParams) -> None:
    columns = data_params.columns.model_copy(update={"id": "score"})
    with pytest.raises(InputError, match="column score: a decision has a column of that name"):
        next(batches(io.BytesIO(b"score,text\n1,a\n"), "csv", columns, 10, "a.csv"))


def test_bad_arguments(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def said(*arguments: object) -> str:
        with pytest.raises(InputError) as error:
            call(monkeypatch, "--classifier", "naive_bayes", *arguments)
        return str(error.value)

    assert "no-such.csv: cannot be read: No such file" in said("--input", "no-such.csv")
    assert "new.csv: is the input" in said("--input", "new.csv", "--output", "./new.csv")
    assert "parquet is read from files alone" in said("--format", "parquet")
    assert "decisions are written as .csv" in said("--input", "new.csv", "--output", tmp_path / "out.txt")
    (tmp_path / "new.csv").mkdir()
    assert "cannot be written" in said("--input", "new.csv", "--output", tmp_path / "new.csv")
    assert "imported answers say nothing of new texts" in said("--classifier", "imported_gpt", "--input", "new.csv")
    assert "nobody: no such model" in said("--classifier", "nobody", "--input", "new.csv")
    assert said("--input", "new.csv", "--text", "body").startswith("new.csv: no column body; it has")


def test_replies_that_were_not_read_decide_nothing() -> None:
    found = decisions(pd.Series([7, 8, 9], name="id"), np.array([0.2, np.nan, 0.7]), 0.5, ["no", "yes"])
    assert found["target"].tolist() == [0, pd.NA, 1]
    assert found["label"].isna().tolist() == [False, True, False]
    assert found.to_csv(index=False).splitlines()[2] == "8,,,"


def test_other_columns_and_kinds_of_cells(tmp_path: Path, data_params: DataParams) -> None:
    """A parquet file with coded texts, an id of its own kind, and no keyword or location."""
    frame = pd.DataFrame({"body": pd.Categorical(["a &amp; b", "c"]), "id": ["007", "-8"]})
    frame.to_parquet(tmp_path / "a.parquet")
    with (tmp_path / "a.parquet").open("rb") as file:
        columns = data_params.columns.model_copy(update={"text": "body"})
        (found,) = batches(file, "parquet", columns, 10, "a.parquet")
    assert found.ids.tolist() == ["007", "-8"]
    assert found.tweets["text"].tolist() == ["a & b", "c"]
    assert found.tweets["keyword"].isna().all()


# --- as a process -----------------------------------------------------------------------------------------------------


def test_the_command_needs_no_torch(folder: Path) -> None:
    code = "import sys, pipeline.predict; sys.exit(bool({'torch', 'openai', 'transformers'} & set(sys.modules)))"
    said(python("-c", code))


def test_whoever_has_read_enough_ends_it_quietly(folder: Path) -> None:
    pd.concat([pd.read_csv("new.csv")] * 20).to_csv("long.csv", index=False)
    command = [
        sys.executable,
        *["-m", "pipeline.predict", "--classifier", "naive_bayes", "--input", "long.csv", "--batch", "1"],
    ]
    own = os.environ | {"PYTHONPATH": str(ROOT)}
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=own)
    assert started.stdout.readline() == b"id,score,target,label\n"
    started.stdout.close()
    said = started.stderr.read().decode()
    assert started.wait() == 0
    assert "Traceback" not in said
    assert "Broken" not in said


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_many_need_no_more_memory_than_few(folder: Path, tmp_path: Path, kind: str) -> None:
    raw, peaks = pd.read_csv("new.csv")[["id", "text"]], []
    for rows in (2_000, 40_000):
        many = raw.loc[np.arange(rows) % len(raw)].assign(id=np.arange(rows))
        source, out = f"{tmp_path}/{rows}.{kind}", f"{tmp_path}/{rows}.out.csv"
        if kind == "parquet":
            many.to_parquet(source, index=False)
        else:
            many.to_json(source, orient="records", lines=True)
        arguments = f"--classifier naive_bayes --batch 256 --input {source} --output {out}"
        peaks.append(measure(["pipeline.predict", *arguments.split()], folder)["peak_mb"])
        assert len(pd.read_csv(out)) == rows
    assert peaks[1] < peaks[0] + 15, peaks


# --- prompts ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def prompting(sample: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A folder with prompts; call it to change the section prompt, and to go there with a store of its own."""
    shutil.copytree(ROOT / "prompts", tmp_path / "prompts")
    monkeypatch.setenv("DISASTER_TWEETS_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    test = sample.test.head(25)

    def change(**values: object) -> None:
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        prepared_folder(tmp_path, monkeypatch, sample.train.head(200), test, prompt=values)

    return change


def embedded(monkeypatch: pytest.MonkeyPatch, encoder: str = "minilm") -> None:
    """Random embeddings of the prepared tweets, which the encoder gives again for their texts."""
    prepared, rng = read_prepared(), np.random.default_rng(0)
    vectors = {}
    for split in ("train", "test"):
        found = rng.normal(size=(len(getattr(prepared, split)), 8)).astype("float32")
        vectors[split] = found / np.linalg.norm(found, axis=1, keepdims=True)
    Path("data/embed").mkdir(parents=True)
    save_file(vectors, f"data/embed/{encoder}.safetensors", metadata={"prepared": prepared.digest})
    times = {"latency_ms_p50": 1000, "latency_ms_p95": 2000, "tweets_per_second": 0.5, "embedding_seconds": 9}
    write_costs(f"embed_{encoder}", Costs(fit_seconds=0, peak_memory_mb=1, **times))
    known = dict(zip(prepared.test["text"], vectors["test"], strict=True))
    monkeypatch.setattr(prompted, "embed", lambda texts, _: np.stack([known[text] for text in texts]))


def run_stage(monkeypatch: pytest.MonkeyPatch, which: str) -> None:
    monkeypatch.setattr(sys, "argv", ["prompt", which])
    with monkeypatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", KEY)
        prompt.main()


@pytest.mark.parametrize(
    ("which", "calibration"),
    [("zero_shot", "contextual"), ("zero_shot", "platt"), ("few_shot", "batch"), ("few_shot_retrieved", "batch")],
)
def test_a_prompt_scores_test_tweets_as_its_stage_did_and_asks_nothing(
    prompting: Callable[..., None], monkeypatch: pytest.MonkeyPatch, which: str, calibration: str
) -> None:
    """All answers are stored: neither an endpoint nor a key is needed; and no text's score depends on the others."""
    with serving() as server:
        prompting(base_url=server.url, train_rows=80, calibration=calibration, submit=[which])
        embedded(monkeypatch)
        run_stage(monkeypatch, which)
    tweets = read_prepared().test
    with open_scorer(f"prompt_{which}") as score:
        found = np.concatenate([score(tweets.head(7)), score(tweets.tail(18))])
    assert found == pytest.approx(expected(f"prompt_{which}").to_numpy(), abs=1e-12)
    costs = read_costs(f"prompt_{which}")
    if which == "few_shot_retrieved":
        assert (costs.reads, costs.reading_ms, costs.fit_seconds) == ("embed_minilm", 2000, 9), "it is embedded first"
        assert 1000 < costs.latency_ms_p50 < 2000 < costs.latency_ms_p95
    else:
        assert 0 < costs.latency_ms_p50 <= costs.latency_ms_p95 < 1000
        assert costs.latency_ms_p50 / 10 < costs.ms_per_text < 10 * costs.latency_ms_p95, "one request after the other"


def test_new_texts_are_asked_about_once_and_within_the_caps(
    prompting: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "\n".join(f"text {n}" for n in range(6)) + "\n"
    with serving() as server:
        limits = dict.fromkeys(("requests_per_minute", "tokens_per_minute", "tokens", "money"))
        prompting(base_url=server.url, calibration="none", limits=limits | {"requests": 8})
        Path("texts.txt").write_text(text)
        arguments = ("--classifier", "prompt_zero_shot", "--input", "texts.txt", "--batch", 2)
        with pytest.raises(InputError, match="the environment variable OPENAI_API_KEY is not set"):
            call(monkeypatch, *arguments, "--output", "out.csv")
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        with pytest.raises(InputError, match=r"prompt\.limits\.requests: the cap of 8 is reached"):
            call(monkeypatch, *arguments, "--output", "out.csv")
        assert not Path("out.csv").exists()
        sent = len(server.bodies)
        capsys.readouterr()
        call(monkeypatch, *arguments)
        found = pd.read_csv(io.StringIO(capsys.readouterr().out))
        about = [body["messages"][-1]["content"] for body in server.bodies if "text " in json.dumps(body)]
    assert sent == 8
    assert sorted(about) == sorted(set(about))
    assert len(about) == len(found) == 6
    assert found["score"].between(0, 1).all()


def test_replies_that_cannot_be_read(prompting: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    def mumbling(body: dict[str, object], _: int) -> tuple[int, object]:
        return 200, completion("Hm" if "text 1" in json.dumps(body) else "Yes")

    with serving(mumbling) as server:
        prompting(base_url=server.url, calibration="none", max_unparsed=0.5)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        Path("texts.txt").write_text("text 0\ntext 1\ntext 2\n")
        arguments = ("--classifier", "prompt_zero_shot", "--input", "texts.txt", "--output", "out.csv")
        call(monkeypatch, *arguments)
        assert Path("out.csv").read_text().splitlines()[2] == "2,,,"
        prompting(base_url=server.url, calibration="none", max_unparsed=0.1)
        Path("out.csv").unlink()
        with pytest.raises(InputError, match=r"1 of 3 replies could not be read, more than prompt\.max_unparsed"):
            call(monkeypatch, *arguments)
        assert not Path("out.csv").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("naive_bayes", "run `dvc repro counts@naive_bayes`"),
        ("gaussian_minilm", "run `dvc repro vectors@gaussian-minilm`"),
        ("nb_svm", "run `dvc repro study/dvc.yaml:counts@nb_svm`"),
        ("naive_bays", "no stage makes it: see `classifiers` in params.yaml, or did you mean naive_bayes?"),
    ],
)
def test_a_command_is_advised_only_if_there_is_such_a_stage(
    name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "study").mkdir()
    for file in ("params.yaml", "study/params.yaml"):
        shutil.copy(ROOT / file, tmp_path / file)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error, open_scorer(name):
        pass
    assert str(error.value) == f"models/{name}: no such model (there: none); {words}"


def test_a_calibration_that_learns_from_the_stage_needs_that_stage(
    prompting: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(which: str = "zero_shot") -> str:
        with pytest.raises(InputError) as error, open_scorer(f"prompt_{which}"):
            pass
        return str(error.value)

    with serving() as server:
        prompting(base_url=server.url, train_rows=80, calibration="batch")
        assert "zero_shot.parquet" in said()
        assert "run `dvc repro prompt@zero_shot`, or set prompt.calibration to none" in said()
        run_stage(monkeypatch, "few_shot")
        with open_scorer("prompt_few_shot"):
            assert "no test tweets were asked about (prompt.submit)" in capsys.readouterr().err
        prompting(base_url=server.url, train_rows=80, calibration="batch", model="another")
        assert "another model or wording" in said("few_shot")
