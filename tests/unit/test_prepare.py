"""Folds are fair and labels are treated as params say."""

import io
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import prepared_folder
from sklearn.model_selection import StratifiedGroupKFold

from pipeline.contracts import Prepared
from pipeline.data.prepare import PrepareParams, assign_folds, prepare, training_targets
from pipeline.predict import predict
from pipeline.stage import main_of


def test_no_group_is_in_two_folds(sample: Prepared) -> None:
    assert (sample.train.groupby("group")["fold"].nunique() == 1).all()


def test_folds_of_many_groups_are_scikit_learns() -> None:
    """With thousands of groups the folds' shares differ by less than it tells apart, and sizes decide; few: test_properties."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(2000), np.minimum(20, rng.zipf(2.5, 2000)))
    labels = (rng.random(len(groups)) < 0.43).astype(int)
    found = assign_folds(labels, groups, 5, 0)
    splits = StratifiedGroupKFold(5, shuffle=True, random_state=0).split(labels, labels, groups)
    assert all((found[held_out] == fold).all() for fold, (_, held_out) in enumerate(splits))


@pytest.mark.parametrize(
    ("conflicts", "learned"),
    [("keep", [0, 1, 1, 0, 1, 1]), ("majority", [1, 1, 1, None, None, 1]), ("drop", [None, None, None, None, None, 1])],
)
def test_training_targets(conflicts: str, learned: list[int | None]) -> None:
    targets, groups = pd.Series([0, 1, 1, 0, 1, 1]), pd.Series([0, 0, 0, 1, 1, 2])
    found = training_targets(targets, groups, conflicts)
    assert [None if pd.isna(value) else int(value) for value in found] == learned


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("🔥🔥🔥", "🔥🔥🔥", True),
        ("🔥🔥🔥", "❤️", False),
        ("http://t.co/abc", "http://t.co/xyz", True),
        ("RT @a: http://t.co/abc", "RT @b: http://t.co/xyz", True),
        ("!!!", "?", False),
        ("东京发生强烈地震请大家注意安全啊", "东京发生强烈地震请大家注意安全吧", True),
        ("东京发生强烈地震请大家注意安全啊", "今天天气很好我们去公园散步", False),
        ("アパートで火事があった、逃げて", "アパートで火事があった。逃げろ", True),
        ("เกิดแผ่นดินไหวรุนแรงที่เชียงใหม่", "เกิดแผ่นดินไหวรุนแรงที่เชียงราย", True),
        ("बाढ़ में कई लोग फँस गए हैं मदद भेजें", "बाढ़ में कई लोग फँस गए हैं मदद चाहिए", True),
        ("की कि के को कौ", "क", False),
    ],
)
def test_texts_of_any_script_are_grouped(sample: Prepared, one: str, other: str, together: bool) -> None:
    raw = pd.DataFrame({"text": [one, other, *sample.train["raw_text"].head(40)], "keyword": None, "location": None})
    raw = raw.assign(id=range(42), group=None, target=[0, 1] * 21).astype({"keyword": "str", "location": "str"})
    train, _ = prepare(raw, raw.iloc[:0].drop(columns="target"), PrepareParams(folds=2))
    assert (train["group"][0] == train["group"][1]) == together


def test_without_test_tweets_all_goes_on_but_the_submission(
    sample: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids of 19 digits too, as tweets have had since 2018, come through to the last."""
    train = sample.train.head(200).assign(id=1177000000000000001 + np.arange(200))
    prepared_folder(tmp_path, monkeypatch, train, sample.test.head(0), blend={"draws": 100}, logistic={"C": [0.2]})
    with redirect_stdout(io.StringIO()) as said:
        for stage in ("counts.naive_bayes", "counts.logistic", "compare.blend", "compare.submission"):
            main_of(f"pipeline.{stage}")()
    assert Path("submission/submission.csv").read_text() == "id,target\n"
    assert "nothing to submit, as data.source has no test.csv" in said.getvalue()
    assert pd.read_parquet("predictions/naive_bayes.parquet")["id"].tolist() == train["id"].tolist()
    assert predict(["Forest fire near La Ronge"]).shape == (1,)
