"""Learning curves: everyone gets the same nested subsets; crossings are found, or not."""

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from pipeline.compare.scored import TwinsParams
from pipeline.contracts import InputError, Prepared, read_params, validated
from pipeline.curves import crossover, prompt_curve
from pipeline.curves.learning_curve import LearningCurveParams, sizes_of
from pipeline.fit.classifier import read_classifier_of
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


def test_every_curve_of_the_params_has_a_family() -> None:
    params = read_params("learning_curve", LearningCurveParams, ROOT / "study/params.yaml")
    assert set(params.classifiers) <= set(params.curves)
    for curve in params.curves.values():
        source = (ROOT / "pipeline" / f"{curve.family.replace('.', '/')}.py").read_text()
        assert "\nFAMILY = " in source
    with pytest.raises(InputError, match=r"x: there is no classifier family counts\.none"):
        read_classifier_of("counts.none", None, "x")


# --- where curves cross -------------------------------------------------------------------------------------------------


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
        rng = np.random.default_rng(seed)
        targets, luck = rng.integers(0, 2, rows), rng.random(rows)
        for size, share in right.items():
            scores = np.where(luck < share, targets, 1 - targets) * 0.8 + 0.1
            ids = np.arange(rows) + 1000 * seed
            frames.append(
                pd.DataFrame(
                    {"size": size, "seed": seed, "id": ids, "score": scores, "target": targets, "group": ids % 500}
                )
            )
    return pd.concat(frames, ignore_index=True)


def test_the_crossing_of_two_curves_is_found_with_its_interval() -> None:
    generative = curve({16: 0.70, 64: 0.74, 256: 0.76, 1024: 0.77})
    discriminative = curve({16: 0.60, 64: 0.70, 256: 0.80, 1024: 0.85})
    found = crossover.find_crossing("a", "b", *crossover.leads(generative, discriminative, 300, 0))
    assert found.share == 1.0
    assert 64 < found.low < found.crossing < found.high < 256
    assert found.crossing == pytest.approx(128, rel=0.15)
    assert found.verdict().startswith("The curves of a and b cross at")
    assert found.lead_at_first == pytest.approx(0.10, abs=0.02)
    assert found.lead_at_last_low < found.lead_at_last < found.lead_at_last_high < 0
    never = crossover.find_crossing("b", "a", *crossover.leads(discriminative, generative, 300, 0))
    assert np.isnan(never.crossing)
    assert never.verdict() == "The curves of b and a do not cross."


def test_equal_curves_do_not_cross() -> None:
    a = curve({16: 0.7, 64: 0.8})
    found = crossover.find_crossing("a", "b", *crossover.leads(a, a, 200, 0))
    assert np.isnan(found.crossing)
    assert found.share == 0.0
    assert found.lead_at_last == 0.0


def test_the_metrics_of_a_curve_are_those_of_its_rows() -> None:
    points = curve({16: 0.7, 64: 0.9})
    found = crossover.curve_of(points, 300, 0).set_index("size")
    for size, share in ((16, 0.7), (64, 0.9)):
        rows = points[points["size"] == size]
        assert found.loc[size, "accuracy"] == ((rows["score"] > 0.5) == rows["target"]).mean()
        assert found.loc[size, "accuracy_low"] < share < found.loc[size, "accuracy_high"]
        width = found.loc[size, "accuracy_high"] - found.loc[size, "accuracy_low"]
        assert width == pytest.approx(4 * np.sqrt(share * (1 - share) / len(rows)), rel=0.8)
    page = crossover.render({"a": found.reset_index()}, [], 300)
    assert f"{found.loc[64, 'accuracy']:.3f} [" in page


def test_a_curve_says_how_many_models_have_one_answer_for_all() -> None:
    points = curve({16: 0.7})
    known = crossover.curve_of(points, 100, 0)
    assert crossover.one_answer({"a": known}) == []
    points.loc[points["seed"] == 0, "score"] = 0.4
    found = crossover.curve_of(points, 100, 0)
    seeds = points["seed"].nunique()
    assert found["one_answer"].tolist() == [1 / seeds]
    assert f"a with 16 labels: {1 / seeds:.0%}." in crossover.render({"a": found}, [], 100)


def test_the_twins_of_the_params_are_pairs() -> None:
    pairs = read_params("twins", TwinsParams, ROOT / "params.yaml").pairs
    assert ("naive_bayes", "logistic") in pairs
    with pytest.raises(InputError, match=r"twins\.pairs\.0"):
        validated(TwinsParams, {"pairs": [["alone"]]}, "twins")


def asked_about(sample: Prepared, rng: np.random.Generator, count: int = 300) -> pd.DataFrame:
    """Tweets that an LLM was asked about, which likes one answer whatever the tweet: it is right, but never below one half."""
    tweets = sample.train.sample(count, random_state=0).sort_index()
    log_odds = 6 + 3 * (tweets["target"] - 0.5) + rng.normal(size=count)
    return tweets.assign(score=1 / (1 + np.exp(-log_odds)))


def test_a_prompt_without_labels_is_a_level(sample: Prepared) -> None:
    tweets = asked_about(sample, np.random.default_rng(0))
    curve = prompt_curve.level(tweets, [(0, 16), (0, 128), (1, 16)])
    known = tweets.set_index("id")["score"]
    assert (curve["score"].to_numpy() == known.loc[curve["id"]].to_numpy()).all()
    few, many = (curve[(curve["seed"] == 0) & (curve["size"] == size)] for size in (16, 128))
    assert few["id"].tolist() == many["id"].tolist() == tweets.loc[tweets["fold"] == 0, "id"].tolist()
    assert set(curve.loc[curve["seed"] == 1, "fold"]) == {1}


def test_platt_scaling_learns_from_labels_of_other_folds_only(sample: Prepared) -> None:
    tweets = asked_about(sample, np.random.default_rng(0))
    tweets.loc[tweets.index[0], "score"] = np.nan  # could not be read
    curve = prompt_curve.platt(tweets, [(0, 16), (0, 128)]).merge(tweets[["id", "target"]], on="id")
    right = {size: ((part["score"] > 0.5) == part["target"]).mean() for size, part in curve.groupby("size")}
    held_out = tweets[tweets["fold"] == 0]
    assert (held_out["score"] > 0.5).all(), "without labels all are called positive"
    assert right[128] > 0.85
    assert tweets["id"].iloc[0] not in set(curve["id"])
    flipped = tweets.assign(train_target=tweets["train_target"].where(tweets["fold"] != 0, 1 - tweets["train_target"]))
    again = prompt_curve.platt(flipped, [(0, 16), (0, 128)])
    assert (again["score"].to_numpy() == curve["score"].to_numpy()).all()
