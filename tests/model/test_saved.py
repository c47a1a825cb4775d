"""Trained classifiers are read back as they were, and files that were tampered with are refused before anything is run."""

import json
import os
import shutil
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import skops.io
from conftest import prepared_folder, python, run_stages, said
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB

from pipeline.contracts import Costs, InputError, Prepared, read_costs, read_predictions, read_prepared, write_costs
from pipeline.counts import logistic, naive_bayes, nb_svm, ngram_lm, transductive_naive_bayes
from pipeline.data import embed
from pipeline.fit.model_files import read_estimator, read_json, write_estimator
from pipeline.fit.model_store import Description, Trained, read_classifier, timed_saved
from pipeline.latency import FEWEST, Latency, after_reading, of_requests, timed, with_latency

ON_COUNTS = [naive_bayes, logistic, nb_svm, transductive_naive_bayes, ngram_lm]
SMALL = {
    "logistic": {"C": [1.0]},
    "nb_svm": {"C": [1.0]},
    "transductive_naive_bayes": {"weights": [0.3], "rounds": 3},
    "ngram_lm": {"order": [2], "discount": [0.75], "inner_folds": 2},
}
READ_ALL = """
from pathlib import Path
import pandas as pd
from pipeline.fit.model_store import read_classifier
test = pd.read_parquet("data/prepared/test.parquet")
found = {path.name: read_classifier(path.name)(test) for path in sorted(Path("models").iterdir())}
pd.DataFrame(found).to_parquet("found.parquet")
"""


def in_a_fresh_process(folder: Path) -> pd.DataFrame:
    """The scores of the test tweets by each classifier in `models/`, as another process reads them."""
    said(python("-W", "error::UserWarning:sklearn", "-c", READ_ALL, folder=folder))
    return pd.read_parquet(folder / "found.parquet")


def on_test(name: str) -> np.ndarray:
    return read_predictions(Path(f"predictions/{name}.parquet"), read_prepared()).test["score"].to_numpy()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, sample: Prepared) -> Iterator[Path]:
    """A folder in which the stages on counts have run."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("trained")
        prepared_folder(folder, patch, sample.train.head(160), sample.test.head(40), **SMALL)
        run_stages([(one.__name__,) for one in ON_COUNTS])
        yield folder


@pytest.fixture
def copied(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its models and params, to be spoilt."""
    for name in ("models", "data", "predictions", "params.yaml"):
        (shutil.copytree if (trained / name).is_dir() else shutil.copy)(trained / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_families_on_counts_score_the_test_tweets_as_their_stages_did(trained: Path) -> None:
    found = in_a_fresh_process(trained)
    assert set(found) == {one.FAMILY.name() for one in ON_COUNTS}
    for name in found:
        np.testing.assert_array_equal(found[name], on_test(name), err_msg=name)
        assert 0 < read_costs(name).latency_ms_p50 <= read_costs(name).latency_ms_p95 < 5000


def test_a_classifier_is_read_once_and_asked_often(copied: Path) -> None:
    test = read_prepared().test
    classifier = read_classifier("logistic")
    assert (classifier.name, classifier.models) == ("logistic", 5)
    shutil.rmtree("models")
    whole = classifier(test)
    one_by_one = [classifier(test.iloc[[row]])[0] for row in range(5)]
    assert one_by_one == pytest.approx(whole[:5], abs=1e-12)
    assert classifier(test.iloc[:0]).shape == (0,)
    new = pd.DataFrame({"text": ["forest fire near the town", ""], "keyword": [None, "never seen"]})
    scores = classifier(new.assign(location=None, raw_text=new["text"]))
    assert ((scores > 0) & (scores < 1)).all()


# --- what is refused ----------------------------------------------------------------------------------------------------


def refused(name: str = "naive_bayes") -> str:
    with pytest.raises(InputError) as error:
        read_classifier(name)
    assert "\n" not in str(error.value)
    return str(error.value)


def describe(name: str, **changes: object) -> None:
    path = Path(f"models/{name}/classifier.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


class Harmful:
    """What a skops file must not make."""

    def __init__(self) -> None:
        self.command = "touch harmed"

    def __setstate__(self, state: dict[str, str]) -> None:
        Path("harmed").touch()


def test_a_type_that_is_not_trusted_is_refused_and_not_run(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path("models/naive_bayes/fold-1/classifier.skops")
    with zipfile.ZipFile(path) as file:
        content = {name: file.read(name) for name in file.namelist()}
    skops.io.dump(Harmful(), path)
    message = refused()
    assert all(part in message for part in (str(path), "Harmful", "refused"))
    skops.io.dump(MultinomialNB(alpha=os.system), path)  # a function inside a type that is trusted
    assert f"{os.name}.system" in refused()
    Path("evil.py").write_text("from pathlib import Path\nPath('harmed').touch()\n")
    monkeypatch.syspath_prepend(str(copied))
    schema = json.loads(content["schema.json"]) | {"__module__": "evil", "__class__": "Evil"}
    with zipfile.ZipFile(path, "w") as file:
        for name, data in (content | {"schema.json": json.dumps(schema).encode()}).items():
            file.writestr(name, data)
    assert "evil.Evil" in refused()
    assert "evil" not in sys.modules, "it is not even imported"
    assert not Path("harmed").exists()


def test_the_same_model_is_the_same_file(tmp_path: Path) -> None:
    """Wherever in memory it lay, and whenever it was written: a stage that says the same makes nobody run again."""
    x, labels = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    models = [LogisticRegression().fit(x, labels) for _ in range(2)]
    for number, model in enumerate(models):
        write_estimator(tmp_path / f"{number}.skops", model)
    first, second = (tmp_path / f"{number}.skops" for number in (0, 1))
    assert first.read_bytes() == second.read_bytes()
    assert {each.date_time[0] for each in zipfile.ZipFile(first).infolist()} == {1980}
    again = read_estimator(second, LogisticRegression)
    assert (again.predict_proba(x) == models[1].predict_proba(x)).all()


@pytest.mark.parametrize("share", [0.0, 0.999])
@pytest.mark.parametrize("file", ["classifier.skops", "vocabulary.json", "rule.json"])
def test_a_truncated_file_is_one_line(copied: Path, file: str, share: float) -> None:
    path = Path("models/naive_bayes/fold-2") / file
    content = path.read_bytes()
    path.write_bytes(content[: int(share * (len(content) - 2))])
    assert str(path) in refused()


def test_damaged_bytes_are_one_line(copied: Path) -> None:
    path = Path("models/naive_bayes/fold-3/classifier.skops")
    whole, rng, refusals = path.read_bytes(), np.random.default_rng(0), 0
    intact = read_estimator(path, MultinomialNB).feature_log_prob_
    for _ in range(60):
        content = np.frombuffer(whole, dtype=np.uint8).copy()
        content[rng.integers(len(content), size=3)] = rng.integers(256, size=3)
        path.write_bytes(content.tobytes())
        try:
            found = read_estimator(path, MultinomialNB).feature_log_prob_
        except InputError:
            refusals += 1
        else:  # bytes that say nothing, such as dates
            np.testing.assert_array_equal(found, intact)
    assert refusals > 30


def test_what_is_missing_is_named(copied: Path) -> None:
    shutil.rmtree("models/naive_bayes/fold-4")
    assert "fold-4: no such folder" in refused()
    Path("models/logistic/fold-0/rule.json").unlink()
    assert "rule.json: no such file" in refused("logistic")
    assert "models/lora_minilm: no such model (there: logistic, naive_bayes" in (message := refused("lora_minilm"))
    assert "run `dvc repro`" in message
    for name in ("../models/logistic", "/etc", "..", "", "a/b"):
        assert "not a classifier's name" in refused(name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": "counts.../x"}, "family"),
        ({"family": "counts.counts"}, "no classifier family counts.counts"),
        ({"family": "counts.not_there"}, "no classifier family counts.not_there"),
        ({"family": "counts.naive_bayes", "preset": "minilm"}, "is no classifier"),
        ({"preset": "../../elsewhere"}, "preset"),
        ({"parts": ["fold-0", "../logistic/fold-0"]}, "parts.1"),
        ({"more": 1}, "more: unknown"),
        ({"format": 2}, "format"),
    ],
)
def test_a_description_that_names_anything_else_is_refused(
    copied: Path, changes: dict[str, object], message: str
) -> None:
    describe("naive_bayes", **changes)
    assert message in refused()


def test_a_model_is_opened_with_the_params_that_made_it(copied: Path) -> None:
    """Whatever params.yaml says now, or if there is none; what the folder says is validated."""
    Path("params.yaml").unlink()
    assert read_classifier("naive_bayes")(read_prepared().test) == pytest.approx(on_test("naive_bayes"), abs=1e-12)
    own = read_json(Path("models/naive_bayes/classifier.json"), Description).determined_by
    for params, message in (({"alpha": ["much"]}, "determined_by.params.alpha"), ({"more": 1}, "params.more: unknown")):
        describe("naive_bayes", determined_by=own | {"params": own["params"] | params})
        assert message in refused()
    describe("naive_bayes", determined_by={})
    assert "classifier.json: determined_by.params" in refused()


def test_models_of_other_tweets_or_of_fewer_seeds_are_refused(copied: Path) -> None:
    whole = Path("models/naive_bayes/classifier.json").read_text()
    describe("naive_bayes", seeds=2)
    assert "fold-0: 1 models, and there were 2" in refused()
    Path("models/naive_bayes/classifier.json").write_text(whole)
    describe("naive_bayes", prepared="of others")
    assert "trained on other tweets than data/prepared has now" in refused()
    shutil.rmtree("data/prepared")
    assert read_classifier("naive_bayes").models == 5, "who has the models alone can use them"


def test_a_classifier_of_another_width_or_kind_is_refused(copied: Path) -> None:
    path = Path("models/naive_bayes/fold-0/classifier.skops")
    write_estimator(path, MultinomialNB().fit(np.eye(2), [0, 1]))
    assert "reads 2 features, and is given" in refused()
    write_estimator(path, [1, 2])
    assert "it holds a list" in refused()
    write_estimator(Path("models/ngram_lm/fold-0/counts.skops"), [{"1": np.zeros((3, 3), dtype=np.int32) + 10**6}] * 2)
    assert "not the counts of two classes" in refused("ngram_lm")


def test_scores_that_are_no_probabilities_are_refused(copied: Path) -> None:
    path = Path("models/logistic/fold-0/classifier.skops")
    classifier = read_estimator(path, object)
    classifier.coef_[:] = np.nan
    write_estimator(path, classifier)
    with pytest.raises(InputError, match=r"no probabilities|cannot score"):
        read_classifier("logistic")(read_prepared().test)


# --- latency --------------------------------------------------------------------------------------------------------------


def test_latency_is_that_of_a_tweet_alone_and_of_many() -> None:
    sizes: list[int] = []

    def score(tweets: pd.DataFrame) -> np.ndarray:
        sizes.append(len(tweets))
        time.sleep(0.02 + 0.001 * len(tweets))
        return tweets["text"].str.len().to_numpy() / 100

    tweets = pd.DataFrame({"text": [f"{'a' * (row % 90)} {row}" for row in range(1000)]})
    latency, scores = timed(score, tweets)
    assert sizes.count(1) == 3 + len(latency.ms) >= 3 + FEWEST
    assert 20 < np.median(latency.ms) < 60
    assert 100 < latency.tweets_per_second < 1000, "the call's own 20 ms are shared by many"
    assert (scores == tweets["text"].str.len()[scores.index] / 100).all()
    assert sum(latency.ms) < 3000


def test_what_comes_before_is_added_and_what_is_unknown_stays_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = Costs(fit_seconds=1, peak_memory_mb=1, total_parameters=5)
    alone = with_latency(own, Latency(np.arange(1.0, 102), 100.0))
    assert (alone.latency_ms_p50, alone.latency_ms_p95, alone.ms_per_text) == pytest.approx((51, 96, 10))
    write_costs(
        "embed_it", alone.model_copy(update={"fit_seconds": 0, "embedding_seconds": 7, "total_parameters": 100})
    )
    after = after_reading(alone, "embed_it")
    assert (after.latency_ms_p50, after.latency_ms_p95, after.ms_per_text) == pytest.approx((102, 192, 20))
    assert (after.fit_seconds, after.total_parameters, after.reads, after.reading_ms) == (8, 105, "embed_it", 10)
    assert after_reading(own, "embed_it").tweets_per_second is None
    write_costs("embed_it", own)
    assert after_reading(alone, "embed_it").latency_ms_p50 is None


def test_a_request_is_timed_from_being_sent_one_after_the_other() -> None:
    """0 is one that a batch answered, or that was refused: its tweet has no time, and the others keep theirs."""
    latency = of_requests([[0.1], [0.2, 0.1], [0.2, 0.0], []])
    assert latency is not None
    assert latency.ms.tolist() == pytest.approx([100, 300])
    assert latency.tweets_per_second == pytest.approx(5)
    assert of_requests([[0.0]]) is None
    assert with_latency(own := Costs(fit_seconds=0, peak_memory_mb=1), None) == own


def test_to_load_an_encoder_is_no_part_of_what_embedding_takes(
    sample: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow:
        """The first text takes a second, as if all came into memory with it."""

        calls = 0

        def encode(self, texts: list[str], **_: object) -> np.ndarray:
            self.calls += 1
            time.sleep(1 if self.calls == 1 else 0.001 * len(texts))
            return np.ones((len(texts), 2), dtype=np.float32)

        def parameters(self) -> list[SimpleNamespace]:
            return [SimpleNamespace(numel=lambda: 4)] * 2

    slow = Slow()
    monkeypatch.setattr(embed, "load_encoder", lambda _: slow)
    monkeypatch.setattr(sys, "argv", ["embed", "minilm"])
    prepared_folder(tmp_path, monkeypatch, sample.train.head(200), sample.test.head(50))
    embed.main()
    costs = read_costs("embed_minilm")
    assert 0.2 <= costs.embedding_seconds < 0.6, "of 200 train texts"
    assert (costs.fit_seconds, costs.total_parameters, costs.trainable_parameters) == (0, 8, None)


def test_a_saved_model_that_scores_otherwise_fails_the_stage(sample: Prepared) -> None:
    expected = np.linspace(0.1, 0.9, len(sample.test))
    by_id = dict(zip(sample.test["id"], expected, strict=True))
    same = Trained("same", 1, lambda tweets: tweets, lambda tweets: tweets["id"].map(by_id).to_numpy())
    assert timed_saved(same, sample.test, expected).tweets_per_second > 0
    other = Trained("other", 1, lambda tweets: tweets, lambda tweets: 1 - same.score(tweets))
    with pytest.raises(InputError, match=r"models/other: read back, it scores tweet .* not all of it was saved"):
        timed_saved(other, sample.test, expected)
