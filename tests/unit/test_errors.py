"""Bad slices, planted label errors and disagreements are found, and held-out labels stay out of training."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import prepared_folder
from made import Made, on_counts, predicted, rows_of
from scipy.stats import fisher_exact
from tqdm import tqdm

from pipeline.contracts import InputError, Prepared
from pipeline.counts import naive_bayes
from pipeline.counts.counts import CountsParams
from pipeline.errors.disagreements import by_pair, confident_errors, disagreements
from pipeline.errors.errors import RELABELLED, ErrorsParams, compare_with_keep, relabelled
from pipeline.errors.label_noise import (
    compare_treatments,
    inner_scores,
    list_suspects,
    platt_scaled_mean,
    suspect,
    suspected_in_training,
)
from pipeline.errors.slices import judge_slices, p_of_difference, slices_of
from pipeline.fit.classifier import Classifier

PARAMS = ErrorsParams(min_rows=5, show=3, relabel=[], draws=300, seed=0)


# --- slices -----------------------------------------------------------------------------------------------------------


def test_only_the_slice_that_is_worse_is_called_so() -> None:
    """Right on 80 of each 100 rows, but in the bad slice on 40 of 100; the good slice is a part of the others."""
    right = np.tile(np.repeat([1.0, 0.0], [80, 20]), 10)
    right[:100] = np.repeat([1.0, 0.0], [40, 60])
    bad, good = np.arange(1000) < 100, (np.arange(1000) >= 300) & (np.arange(1000) < 500)
    found = judge_slices(right, {"bad": bad, "good": good}, np.arange(1000), 300, 0).set_index("slice")
    assert found[["rows", "accuracy", "worse"]].to_numpy().tolist() == [[100, 0.4, True], [200, 0.8, False]]
    assert found["difference"].tolist() == pytest.approx([0.4 - 0.8, 0.8 - 600 / 800])
    assert (found["difference_low"] < found["difference"]).all()
    assert (found["difference"] < found["difference_high"]).all()
    assert found.loc["bad", "high"] - found.loc["bad", "low"] == pytest.approx(2 * 1.96 * np.sqrt(0.24 / 100), rel=0.15)
    p = found["p"]
    assert p["bad"] == pytest.approx(fisher_exact([[40, 60], [720, 180]]).pvalue)
    assert found["p_holm"].to_dict() == pytest.approx({"bad": 2 * p["bad"], "good": p["good"]})


def test_of_many_slices_hardly_one_is_called_worse_by_chance() -> None:
    """Of 200 slices at random; without Holm's correction some would be."""
    rng = np.random.default_rng(0)
    right = (rng.random(1000) < 0.8).astype(float)
    masks = {str(number): rng.random(1000) < 0.1 for number in range(200)}
    found = judge_slices(right, masks, np.arange(1000), 100, 0)
    assert found["worse"].sum() == 0
    assert ((found["p"] < 0.05) & (found["difference"] < 0)).any()


def test_retweets_are_one_piece_of_evidence() -> None:
    right = np.repeat([0.0, 1.0], [30, 300])
    alone, copies = np.arange(330), np.concatenate([np.zeros(30, dtype=int), np.arange(1, 301)])
    mask = np.arange(330) < 30
    assert p_of_difference(right, mask, alone) < 1e-9
    assert p_of_difference(right, mask, copies) == pytest.approx(1 / 301), "one wrong tweet of 301"


def test_slices_are_what_their_names_say() -> None:
    texts = [
        "Fire near the river http",
        "@user that is not the end of it",
        "#fire #flood #storm #quake warnings",
        "HUGE blaze in the USA",
        "пожар в лесу у реки сегодня",
        "it is what it is and was and will be for all of us in the town",
    ]
    tweets = pd.DataFrame({"text": texts, "keyword": ["fire", None, "fire", "blaze", None, "fire"], "group": range(6)})
    tweets["location"] = [None, "a", "b", "c", "d", "e"]
    found = {name: np.flatnonzero(mask).tolist() for name, mask in slices_of(tweets, 1).items()}
    patterns = {"link": [0], "mention": [1], "hashtag": [2], "word in capitals": [3], "foreign letters": [4]}
    columns = {"no keyword": [1, 4], "no location": [0], "keyword: fire": [0, 2, 5], "keyword: blaze": [3]}
    assert found.items() >= (patterns | columns | {"no common English word": [2, 4]}).items()
    by_length = [rows for name, rows in found.items() if name.endswith(" words")]
    assert sorted(itertools.chain(*by_length)) == [0, 1, 2, 3, 4, 5]
    assert "keyword: blaze" not in slices_of(tweets, 2)
    assert "keyword: fire" not in slices_of(tweets.assign(group=[0, 1, 0, 3, 4, 0]), 2), "three copies are one tweet"


def train_of(targets: list[int], folds: int = 3) -> pd.DataFrame:
    n = len(targets)
    frame = pd.DataFrame({"id": np.arange(10, 10 + n), "target": np.array(targets, dtype="int8"), "group": range(n)})
    frame["train_target"] = frame["target"].astype("Int8")
    frame = frame.assign(keyword="fire", location=None, text="some text", raw_text="Some <b>text</b>")
    return frame.assign(fold=(np.arange(n) % folds).astype("int8"))


TWINS = [("a", "c"), ("b", "d"), ("b", "not there")]


def test_twins_disagree_pair_by_pair_with_the_largest_gap_first_and_unlike_ones_do_not_count() -> None:
    """b and c, which are no twins, decide tweet 13 differently; of the pair b and d one reply could not be read."""
    train = train_of([1, 0, 1, 0])
    scores = {"a": [0.6, 0.1, 0.9, 0.1], "b": [0.9, 0.2, 0.6, 0.9], "c": [0.4, 0.1, 0.2, 0.2]}
    scores["d"] = [0.1, 0.2, np.nan, 0.8]
    found = disagreements(train, [predicted(name, "prompted", train, each) for name, each in scores.items()], TWINS)
    pairs = found[["generative", "discriminative", "id"]].to_numpy().tolist()
    assert pairs == [["a", "c", 12], ["a", "c", 10], ["b", "d", 10]]
    assert found["gap"].tolist() == pytest.approx([0.7, 0.2, 0.8])
    assert by_pair(found) == [("a", "c", 2, 2), ("b", "d", 1, 1)]
    assert disagreements(train, [predicted("a", "generative", train, scores["a"])], TWINS).empty, "no two of them ran"


def test_the_surest_errors_come_first_and_unread_replies_are_none() -> None:
    train = train_of([1, 0, 1, 0, 1])
    rows = rows_of(train["target"].to_numpy(), np.array([0.2, 0.99, np.nan, 0.1, 0.45]), start=10)
    found = confident_errors(train, "a", rows, 2)
    assert found[["id", "score"]].to_numpy().tolist() == [[11, 0.99], [10, 0.2]]


# --- label noise ------------------------------------------------------------------------------------------------------


def test_planted_label_errors_are_found() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 1000)
    scores = np.clip(np.where(truth == 1, 0.85, 0.15) + rng.normal(0, 0.1, 1000), 0.01, 0.99)
    planted = rng.random(1000) < 0.1
    found = suspect(np.where(planted, 1 - truth, truth), scores)
    assert (found & planted).sum() >= 0.9 * planted.sum()
    assert (found & ~planted).sum() <= 0.1 * planted.sum()
    assert not suspect(truth, np.where(truth == 1, 0.9, 0.1)).any()
    assert not suspect(np.zeros(5, dtype=int), np.full(5, 0.9)).any()


def test_suspects_are_listed_with_their_conflicts() -> None:
    targets = [0, 1] * 20
    train = train_of(targets)
    train.loc[3, ["target", "group"]] = [0, 1]  # its near-duplicate, row 1, says 1
    scores = np.where(np.array(targets) == 1, 0.9, 0.1)
    found = list_suspects(train, scores)
    assert found["id"].tolist() == [13]
    assert found[["target", "suggested", "conflict"]].to_numpy().tolist() == [[0, 1, True]]
    assert found["quality"].tolist() == pytest.approx([0.1])


def test_platt_scaling_mends_overconfident_scores_by_other_folds() -> None:
    rng, folds = np.random.default_rng(0), np.arange(3000) % 3
    targets = rng.integers(0, 2, 3000)
    sure = np.where((rng.random(3000) < 0.8) == (targets == 1), 0.99, 0.01)
    found = platt_scaled_mean(np.stack([sure, sure]), targets, folds)
    assert found[sure > 0.5].mean() == pytest.approx(0.8, abs=0.03)
    again = platt_scaled_mean(np.stack([sure, sure]), np.where(folds == 0, 1 - targets, targets), folds)
    assert np.array_equal(found[folds == 0], again[folds == 0])
    assert not np.allclose(found[folds == 1], again[folds == 1])


def noisy_tweets(seed: int) -> Prepared:
    """Five words a tweet, each to four fifths from its class's own forty; training has two fifths of the disasters wrong."""
    rng = np.random.default_rng(seed)
    targets = rng.permutation(np.tile([0, 1], 150))
    words = [40 * np.where(rng.random(5) < 0.8, target, 1 - target) + rng.integers(0, 40, 5) for target in targets]
    texts = [" ".join(f"w{word}" for word in each) for each in words]
    train = train_of(targets.tolist()).assign(text=texts, keyword=None)
    wrong = (targets == 1) & (rng.random(300) < 0.4)
    train["train_target"] = train["train_target"].mask(wrong, 0)
    return Prepared(train, train.iloc[:0], "")


@pytest.fixture
def bayes() -> Classifier:
    counts = CountsParams(ngrams=[1], min_count=[1], inner_folds=2)
    return on_counts(naive_bayes, counts, event_model=["multinomial"], alpha=[1.0])


def test_treatments_are_compared_on_the_same_rows(bayes: Classifier) -> None:
    """Relabelling helps where labels are wrong in one direction."""
    prepared = noisy_tweets(0)
    treated = compare_treatments(bayes, prepared)
    rows = pd.DataFrame(compare_with_keep(*treated, prepared.train, PARAMS), columns=RELABELLED[1:]).set_index(
        "treatment"
    )
    assert rows.loc["relabel", "difference"] == pytest.approx(rows["accuracy"]["relabel"] - rows["accuracy"]["keep"])
    assert rows.loc["relabel", "difference"] > 0.03
    assert rows.loc["relabel", "difference_low"] > 0
    assert not rows.loc["keep", ["difference", "difference_low", "difference_high", "trained_without"]].any()
    assert rows.loc["drop", "trained_without"] == rows.loc["relabel", "trained_without"] > 20
    assert ((rows["low"] < rows["accuracy"]) & (rows["accuracy"] < rows["high"])).all()


def test_labels_of_the_held_out_fold_never_reach_its_training(bayes: Classifier) -> None:
    train = noisy_tweets(1).train
    turned = train.copy()
    for column in ("target", "train_target"):
        turned[column] = turned[column].where(turned["fold"] != 1, 1 - turned[column])
    found = []
    for each in (train, turned):
        inner = inner_scores(bayes, each, tqdm(disable=True))
        found.append([suspected_in_training(each, inner[fold], fold)[1:] for fold in (0, 1)])
    (of_0, (labels, suspected)), (of_0_turned, (labels_turned, suspected_turned)) = found
    assert np.array_equal(labels, labels_turned)
    assert np.array_equal(suspected, suspected_turned)
    assert suspected.any()
    assert not np.array_equal(of_0[1], of_0_turned[1]), "other folds do learn from these labels"


def test_a_row_is_judged_by_models_that_saw_neither_it_nor_the_held_out_fold() -> None:
    train, seen = train_of([0, 1] * 6), []

    def fit(tweets: pd.DataFrame, labels: np.ndarray, _: int) -> set[int]:
        seen.append(set(tweets["fold"]))
        return set(tweets["fold"])

    def score(model: set[int], tweets: pd.DataFrame) -> np.ndarray:
        assert not model & set(tweets["fold"])
        return tweets["id"].to_numpy() / 100

    inner = inner_scores(Made(fit, score), train, tqdm(disable=True))
    assert seen == [{2}, {1}, {0}]
    for held_out, scores in inner.items():
        np.testing.assert_array_equal(scores, (train["id"] / 100).where(train["fold"] != held_out))


def test_relabelling_needs_known_classifiers_and_three_folds(
    tmp_path: Path, sample: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared_folder(tmp_path, monkeypatch, sample.train, sample.test)
    with pytest.raises(InputError, match=r"errors\.relabel: nobody: unknown; known here: .*naive_bayes"):
        relabelled(sample, PARAMS.model_copy(update={"relabel": ["nobody"]}))
    two = Prepared(sample.train.assign(fold=sample.train["fold"] % 2), sample.test, sample.digest)
    with pytest.raises(InputError, match=r"prepare\.folds"):
        relabelled(two, PARAMS.model_copy(update={"relabel": ["naive_bayes"]}))
