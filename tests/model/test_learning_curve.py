"""Learning curves: everyone gets the same nested subsets; crossings are found, or not."""

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from scipy.special import expit

from pipeline.compare.scored import TwinsParams
from pipeline.contracts import InputError, Prepared, read_params, validated
from pipeline.curves import crossover, prompt_curve
from pipeline.curves.learning_curve import LearningCurveParams, read_curve_classifier, sizes_of
from pipeline.fit.cross_fit import training_rows
from pipeline.fit.subsets import nested_order


def test_subsets_are_stratified_and_keep_near_duplicates_together(sample: Prepared) -> None:
    tweets, labels = training_rows(sample.train, 0)
    order = nested_order(tweets, labels, seed=3)
    assert sorted(order) == list(range(len(labels)))
    for size in (16, 50, 200):
        assert labels[order[:size]].mean() == pytest.approx(labels.mean(), abs=1 / size)
    groups = tweets["group"].to_numpy()[order]
    for label in (0, 1):
        of_class = groups[labels[order] == label]
        runs = 1 + (np.diff(of_class) != 0).sum()
        assert runs == len(np.unique(of_class)), "a group is not left before it is through"
    assert (nested_order(tweets, labels, seed=3) == order).all()
    assert (nested_order(tweets, labels, seed=4) != order).any()


def test_sizes_are_those_that_every_fold_has_rows_for(sample: Prepared) -> None:
    params = LearningCurveParams(sizes=[16, 64, 4096, None], classifiers=[], curves={})
    most = min(len(training_rows(sample.train, fold)[0]) for fold in range(5))
    assert sizes_of(sample, params, None) == [16, 64, most]
    assert sizes_of(sample, params, 64) == [16, 64]


def test_every_curve_and_pair_of_the_params_is_one() -> None:
    params = read_params("learning_curve", LearningCurveParams, ROOT / "study/params.yaml")
    assert set(params.classifiers) <= set(params.curves)
    for curve in params.curves.values():
        assert "\nFAMILY = " in (ROOT / "pipeline" / f"{curve.family.replace('.', '/')}.py").read_text()
    unknown = params.model_copy(update={"curves": {"a": curve.model_copy(update={"family": "counts.none"})}})
    with pytest.raises(InputError, match=r"curves: a: there is no classifier family counts\.none"):
        read_curve_classifier("a", unknown, "x")
    with pytest.raises(InputError, match="x: b: unknown"):
        read_curve_classifier("b", unknown, "x")
    assert ("naive_bayes", "logistic") in read_params("twins", TwinsParams, ROOT / "params.yaml").pairs
    with pytest.raises(InputError, match=r"twins\.pairs\.0"):
        validated(TwinsParams, {"pairs": [["alone"]]}, "twins")


def test_a_crossing_is_where_the_lead_is_lost_for_good() -> None:
    sizes = np.array([16.0, 64.0, 256.0])
    assert crossover.crossing(sizes, np.array([0.1, 0.1, -0.1])) == pytest.approx(128)
    assert crossover.crossing(sizes, np.array([0.1, -0.3, -0.1])) == pytest.approx(16 * 4**0.25)
    assert crossover.crossing(sizes, np.array([-0.1, 0.1, -0.1])) == pytest.approx(128)
    for never in ([-0.1, -0.1, -0.1], [0.1, 0.1, 0.1], [0.1, -0.1, 0.1], [0.0, 0.0, 0.0]):
        assert np.isnan(crossover.crossing(sizes, np.array(never)))


def curve(right: dict[int, float], rows: int = 400, seeds: int = 4) -> pd.DataFrame:
    """Points of a classifier that is right about so large a share of the rows, other ones for each seed."""
    frames = []
    for seed in range(seeds):
        rng, ids = np.random.default_rng(seed), np.arange(rows) + 1000 * seed
        targets, luck = rng.integers(0, 2, rows), rng.random(rows)
        points = pd.DataFrame({"seed": seed, "id": ids, "target": targets, "group": ids % 500})
        for size, share in right.items():
            scores = np.where(luck < share, targets, 1 - targets) * 0.8 + 0.1
            frames.append(points.assign(size=size, score=scores))
    return pd.concat(frames, ignore_index=True)


def test_the_crossing_of_two_curves_is_found_with_its_interval() -> None:
    generative = curve({16: 0.70, 64: 0.74, 256: 0.76, 1024: 0.77})
    discriminative = curve({16: 0.60, 64: 0.70, 256: 0.80, 1024: 0.85})
    found = crossover.find_crossing("a", "b", *crossover.leads(generative, discriminative, 300, 0))
    assert found.share == 1.0
    assert 64 < found.low < found.crossing < found.high < 256
    assert found.crossing == pytest.approx(128, rel=0.15)
    assert found.verdict().startswith("The curves of a and b cross at")
    assert (found.first, found.last) == (16, 1024)
    assert found.lead_at_first == pytest.approx(0.10, abs=0.02)
    assert found.lead_at_last_low < found.lead_at_last < found.lead_at_last_high < 0
    never = crossover.find_crossing("b", "a", *crossover.leads(discriminative, generative, 300, 0))
    assert np.isnan(never.crossing)
    assert never.verdict() == "The curves of b and a do not cross."
    equal = crossover.find_crossing("a", "a", *crossover.leads(generative, generative, 200, 0))
    assert (np.isnan(equal.crossing), equal.share, equal.lead_at_last) == (True, 0.0, 0.0)


def test_the_metrics_of_a_curve_are_those_of_its_rows() -> None:
    points = curve({16: 0.7, 64: 0.9})
    found = crossover.curve_of(points, 300, 0).set_index("size")
    for size, share in ((16, 0.7), (64, 0.9)):
        rows, of_size = points[points["size"] == size], found.loc[size]
        assert of_size["accuracy"] == ((rows["score"] > 0.5) == rows["target"]).mean()
        assert of_size["accuracy_low"] < share < of_size["accuracy_high"]
        width = of_size["accuracy_high"] - of_size["accuracy_low"]
        assert width == pytest.approx(4 * np.sqrt(share * (1 - share) / len(rows)), rel=0.8)
    assert f"{found.loc[64, 'accuracy']:.3f} [" in crossover.render({"a": found.reset_index()}, [], 300)


def test_a_curve_says_how_many_models_have_one_answer_for_all() -> None:
    points = curve({16: 0.7})
    assert crossover.one_answer({"a": crossover.curve_of(points, 100, 0)}) == []
    points.loc[points["seed"] == 0, "score"] = 0.4
    found = crossover.curve_of(points, 100, 0)
    assert found["one_answer"].tolist() == [1 / 4]
    assert "a with 16 labels: 25%." in crossover.render({"a": found}, [], 100)


@pytest.fixture
def asked(sample: Prepared) -> pd.DataFrame:
    """Tweets that an LLM was asked about, which likes one answer whatever the tweet: it is right, but never below one half."""
    tweets = sample.train.sample(300, random_state=0).sort_index()
    log_odds = 6 + 3 * (tweets["target"] - 0.5) + np.random.default_rng(0).normal(size=300)
    return tweets.assign(score=expit(log_odds))


def test_a_prompt_without_labels_is_a_level(asked: pd.DataFrame) -> None:
    curve = prompt_curve.as_it_is("a", asked, [16, 128], 2)
    assert (curve["score"].to_numpy() == asked.set_index("id")["score"].loc[curve["id"]].to_numpy()).all()
    few, many = (curve[(curve["seed"] == 0) & (curve["size"] == size)] for size in (16, 128))
    assert few["id"].tolist() == many["id"].tolist() == asked.loc[asked["fold"] == 0, "id"].tolist()
    assert set(curve.loc[curve["seed"] == 1, "fold"]) == {1}


def test_platt_scaling_learns_from_labels_of_other_folds_only(asked: pd.DataFrame) -> None:
    curve = prompt_curve.platt_scaled("a", asked, [16, 128], 1).merge(asked[["id", "target"]], on="id")
    right = {size: ((part["score"] > 0.5) == part["target"]).mean() for size, part in curve.groupby("size")}
    assert (asked.loc[asked["fold"] == 0, "score"] > 0.5).all(), "without labels all are called positive"
    assert right[128] > 0.85
    flipped = asked.assign(train_target=asked["train_target"].where(asked["fold"] != 0, 1 - asked["train_target"]))
    again = prompt_curve.platt_scaled("a", flipped, [16, 128], 1)
    assert (again["score"].to_numpy() == curve["score"].to_numpy()).all()
