"""The contracts between stages hold against whoever breaks them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import Field

from pipeline.contracts import (
    InputError,
    Params,
    Prepared,
    check_predictions,
    predictions_frame,
    read_params,
    read_predictions,
    write_predictions,
    written_whole,
)


class Inner(Params):
    width: int = 3


class Example(Params):
    rate: float = Field(gt=0)
    names: list[str]
    inner: Inner = Inner()
    by_name: dict[str, Inner] | None = None


def test_yaml_numbers_and_words_mean_what_they_look_like(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("stage:\n  rate: 1e-4\n  names: [no, yes]\n")
    params = read_params("stage", Example, tmp_path / "params.yaml")
    assert params.rate == 1e-4
    assert params.names == ["no", "yes"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("stage: {rat: 1, names: []}", r"stage\.rat: unknown; did you mean rate\? known here: by_name, inner, "),
        ("stage: {rate: 1, names: [], xyz: 2}", r"stage\.xyz: unknown; known here: by_name, inner, names, rate"),
        ("stage: {rate: -1, inner: {wdth: 1}}", r"stage\.inner\.wdth: unknown; did you mean width\? known here: width"),
        ("stage: {by_name: {any: {wdth: 1}}}", r"by_name\.any\.wdth: unknown; did you mean width\? known here: width"),
        ("stage: {rate: '1', names: []}", r"stage\.rate: .*number.*'1'"),
        ("stage: {rate: -1, names: []}", r"stage\.rate: .*greater than 0"),
        ("stage: {rate: 1, names: [1]}", r"stage\.names\.0: .*string"),
        ("other: {}", r"there is no section stage\Z"),
        ("stages: {}", r"there is no section stage; did you mean stages\?"),
        ("stage: [", "not YAML"),
        ("stage: {rate: 1, rate: 2}", "not YAML"),
    ],
)
def test_bad_params_are_one_clear_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "params.yaml").write_text(content)
    with pytest.raises(InputError, match=message) as error:
        read_params("stage", Example, tmp_path / "params.yaml")
    assert "\n" not in str(error.value)


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("before")

    def write_half() -> None:
        with written_whole(path) as partial:
            partial.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def scored(prepared: Prepared, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    train = predictions_frame(prepared.train, "train", rng.random(len(prepared.train)))
    test = predictions_frame(prepared.test, "test", rng.random(len(prepared.test)))
    return pd.concat([train, test], ignore_index=True)


def test_only_a_prompted_classifier_may_cover_a_part_or_leave_rows_unparsed(sample: Prepared) -> None:
    few = sample.train.iloc[::3]
    part = predictions_frame(few, "train", np.full(len(few), 0.5))
    unread = scored(sample)
    unread.loc[5, ["score", "status"]] = [np.nan, "unparsed"]
    for frame, message in ((part, "rows where"), (unread, "may leave one out")):
        check_predictions(frame, sample, "prompted", "here")
        with pytest.raises(InputError, match=message):
            check_predictions(frame, sample, "discriminative", "here")


def test_predictions_of_other_tweets_are_refused(
    sample: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_predictions("some", [scored(sample)], sample, "generative", "mean log-odds")
    path = Path("predictions/some.parquet")
    found = read_predictions(path, sample)
    assert (found.name, found.school, found.test_rows) == ("some", "generative", "mean log-odds")
    assert len(found.train) == len(sample.train)
    assert found.noise is None
    write_predictions("some", [scored(sample)], sample, "generative", "mean log-odds", noise=0.25)
    assert read_predictions(path, sample).noise == 0.25
    with pytest.raises(InputError, match="made from other prepared tweets"):
        read_predictions(path, Prepared(sample.train, sample.test, "another digest"))
