"""What is compared is what params name: nothing that an earlier run has left, and nothing twice."""

import sys
from pathlib import Path

import pytest
from conftest import prepared_folder, set_param

from pipeline import places, stage, waiting
from pipeline.compare.scored import read_all
from pipeline.compare.taking_part import ClassifiersParams, Family, family_of, taking_part
from pipeline.contracts import InputError, Prepared, predictions_frame, read_prepared, write_predictions
from pipeline.process import stage_name


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample: Prepared) -> Path:
    prepared_folder(tmp_path, monkeypatch, sample.train.head(60), sample.test.head(10))
    return tmp_path


@pytest.fixture
def in_study() -> None:
    places.work_in(places.STUDY)
    yield
    places.work_in(Path())


def score(name: str, prepared: Prepared) -> None:
    tweets = {"train": prepared.train, "test": prepared.test}
    frames = [predictions_frame(rows, split, rows["id"] % 7 / 10) for split, rows in tweets.items()]
    write_predictions(name, frames, prepared, "generative", "refit")


def test_names_follow_from_the_lists() -> None:
    vectors = {"encoders": ["minilm", "mpnet"], "vectors": ["gaussian"]}
    lists = ClassifiersParams(counts=["naive_bayes"], **vectors, lora=["a"], prompts=["zero_shot"], imported=["gpt"])
    of_vectors = {f"gaussian_{encoder}": f"vectors@gaussian-{encoder}" for encoder in ("minilm", "mpnet")}
    llms = {"prompt_zero_shot": "prompt@zero_shot", "imported_gpt": "imported@gpt"}
    assert lists.stages() == {"naive_bayes": "counts@naive_bayes"} | of_vectors | {"lora_a": "lora@a"} | llms
    assert list(lists.trained()) == [*lists.stages()][:-2]
    assert lists.trained()["gaussian_mpnet"] == Family("vectors.gaussian", "mpnet")


def test_predictions_without_a_name_are_left_out(folder: Path) -> None:
    prepared = read_prepared()
    for name in ("naive_bayes", "nb_svm"):
        score(name, prepared)
    set_param(folder, "classifiers.counts", ["naive_bayes", "logistic"])
    found, left_out = read_all(prepared)
    assert [one.name for one in found] == ["naive_bayes"]
    assert any("predictions/nb_svm.parquet: params.yaml names no such classifier" in line for line in left_out)
    assert any("not compared, for want of predictions" in line and "logistic" in line for line in left_out)


def test_the_study_compares_both_places(folder: Path, in_study: None) -> None:
    prepared = read_prepared()
    set_param(folder, "classifiers.counts", ["naive_bayes"])
    score("nb_svm", prepared)
    assert Path("study/predictions/nb_svm.parquet").is_file()
    places.work_in(Path())
    score("naive_bayes", prepared)
    assert "nb_svm" not in taking_part()
    places.work_in(places.STUDY)
    assert {one.name for one in read_all(prepared)[0]} == {"naive_bayes", "nb_svm"}


def test_a_name_in_both_lists_is_refused(folder: Path, in_study: None) -> None:
    set_param(folder, "classifiers.counts", ["naive_bayes", "nb_svm"])
    with pytest.raises(InputError, match=r"study/params\.yaml: classifiers: nb_svm runs in the main job"):
        taking_part()


def test_only_what_takes_part_is_trained_again(folder: Path) -> None:
    assert family_of("gaussian_minilm", "errors.relabel") == Family("vectors.gaussian", "minilm")
    with pytest.raises(InputError, match=r"errors\.relabel: bert: unknown;.* known here: .*naive_bayes"):
        family_of("bert", "errors.relabel")


def test_the_launcher_refuses_what_is_no_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    for what in ("quiet", "choose"):
        monkeypatch.setattr(waiting, what, lambda *_: None)
    for arguments in ([], ["naive_bayes"]):
        with pytest.raises(InputError, match=r"usage: python -m pipeline\.stage"):
            stage.start(arguments)
    for module in ("compare.nothing", "stats.metrics"):
        with pytest.raises(InputError, match=f"pipeline.{module}: no such stage"):
            stage.start([module])


def test_stages_that_share_a_main_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two families may run at once: the lock is of the family's own module."""
    monkeypatch.setattr(sys, "argv", ["pipeline.stage", "minilm"])
    found = [stage_name(stage.main_of(f"pipeline.vectors.{family}")) for family in ("gaussian", "knn")]
    assert found == ["gaussian_minilm", "knn_minilm"]
