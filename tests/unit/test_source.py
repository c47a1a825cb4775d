"""A source is read whatever it is packed in and however its programs write csv; what is refused: test_malformed."""

import zipfile
from pathlib import Path

import pandas as pd
import pytest

from pipeline.contracts import InputError
from pipeline.data import csv_file
from pipeline.data.source import DataParams, read_source

TRAIN = "id,keyword,location,text,target\n1,fire,,A fire,1\n2,,,No fire,0\n3,,Rome,Nothing,0\n"
TEST = "id,keyword,location,text\n10,,,Smoke\n"


def read(
    folder: Path, params: DataParams, train: str = TRAIN, test: str | None = TEST, **changed: object
) -> tuple[pd.DataFrame, pd.DataFrame]:
    (folder / "train.csv").write_bytes(train.encode())
    if test is not None:
        (folder / "test.csv").write_bytes(test.encode())
    return read_source(params.model_copy(update={"source": str(folder)} | changed))


@pytest.mark.parametrize("test", [TEST, None])
def test_a_zip_reads_like_its_folder(tmp_path: Path, data_params: DataParams, test: str | None) -> None:
    """With or without a test.csv: then there is nothing to submit, and all else goes on."""
    of_folder = read(tmp_path, data_params, test=test)
    archive = tmp_path / "tweets.zip"
    with zipfile.ZipFile(archive, "w") as files:
        for path in tmp_path.glob("*.csv"):
            files.write(path, path.name)
    for one, other in zip(of_folder, read_source(data_params.model_copy(update={"source": str(archive)})), strict=True):
        assert one.equals(other)
    assert len(of_folder[1]) == (test is not None)
    assert [*of_folder[1]] == ["id", "keyword", "location", "text", "group"]
    assert of_folder[1]["id"].dtype == "int64"


def test_other_columns_and_label_names_fit(tmp_path: Path, data_params: DataParams) -> None:
    columns = data_params.columns.model_copy(
        update={"id": "n", "keyword": None, "location": None, "text": "body", "target": "kind"}
    )
    made = "n,body,kind\n1,Hello,ham\n2,Win now,spam\n", "n,body\n3,Hi\n"
    train, test = read(tmp_path, data_params, *made, columns=columns, labels=["ham", "spam"])
    assert train["target"].tolist() == [0, 1]
    assert test["keyword"].isna().all()
    with pytest.raises(InputError, match=r"row 2, column kind: 'eggs' must be one of 0, 1, ham, spam"):
        read(tmp_path, data_params, made[0].replace("spam", "eggs"), columns=columns, labels=["ham", "spam"])


@pytest.mark.parametrize(
    "train",
    [
        f"{TRAIN}\n\r\n  \n",
        TRAIN.replace("\n", "\r\n\r\n"),
        f"\n\n{TRAIN}",
        f"sep=,\n{TRAIN}",
        f'\ufeff"sep=,"\r\n{TRAIN}',
        f"SEP=;\n{TRAIN.replace(',', ';')}",
    ],
)
def test_lines_that_hold_no_row_are_passed_over(tmp_path: Path, data_params: DataParams, train: str) -> None:
    assert read(tmp_path, data_params, train)[0].equals(read(tmp_path, data_params)[0])


@pytest.mark.parametrize(
    ("labels", "cells", "expected"),
    [
        (["no", "yes"], ["1.0", "0.", "0"], [1, 0, 0]),
        (["no", "yes"], ["True", "FALSE", "false"], [1, 0, 0]),
        (["no", "yes"], [" 1", "0 ", "0"], [1, 0, 0]),
        (["no", "yes"], [" yes", "no ", "no"], [1, 0, 0]),
        (["0", "4"], ["4", "0", "0"], [1, 0, 0]),
        (["0", "4"], ["4.0", "0.0", "4"], [1, 0, 1]),
        (["0", "4"], ["1", "0", "0"], [1, 0, 0]),
        (["-1", "1"], ["1", "-1", "-1"], [1, 0, 0]),
        (["1", "2"], ["1", "2", "2"], [0, 1, 1]),
        (["0", "1"], ["1", "0", "0"], [1, 0, 0]),
        (["no", "yes"], ["1", "0", "yes"], "row 3, column target: 'yes' is none of the numbers that "),
        (["0", "4"], ["0", "4", "1"], "row 3, column target: '1' is none of the names that "),
        (["1", "2"], ["1", "2", "0"], "row 3, column target: '0' must be one of 1, 2"),
        (["1", "2"], ["True", "False", "True"], "row 1, column target: 'True' must be one of 1, 2"),
        (["no", "yes"], ["1", "0", "0.5"], r"row 3, column target: '0\.5' must be one of 0, 1, no, yes"),
        (["1", "0"], ["1", "0", "0"], r"params\.yaml: data\.labels: "),
        (["no", "no"], ["1", "0", "0"], r"params\.yaml: data\.labels: "),
    ],
)
def test_targets_are_read_where_there_is_no_doubt(
    tmp_path: Path, data_params: DataParams, labels: list[str], cells: list[str], expected: list[int] | str
) -> None:
    train = "id,text,target\n" + "".join(f"{n},text {n},{cell}\n" for n, cell in enumerate(cells))
    columns = data_params.columns.model_copy(update={"keyword": None, "location": None})
    if isinstance(expected, str):
        with pytest.raises(InputError, match=expected):
            read(tmp_path, data_params, train, TEST, labels=labels, columns=columns)
    else:
        assert read(tmp_path, data_params, train, "id,text\n9,a\n", labels=labels, columns=columns)[0][
            "target"
        ].tolist() == (expected)


@pytest.mark.parametrize("number", [1177000000000000001, 2**63 - 1, 1 - 2**63, 2**63])
def test_an_id_may_be_any_of_64_bits(tmp_path: Path, data_params: DataParams, number: int) -> None:
    if number < 2**63:
        assert read(tmp_path, data_params, TRAIN.replace("\n1,", f"\n{number},"))[0]["id"][0] == number
    else:
        with pytest.raises(InputError, match=f"row 1, column id: '{number}' must be a whole number"):
            read(tmp_path, data_params, TRAIN.replace("\n1,", f"\n{number},"))


def without_ids(text: str) -> str:
    return "".join(line.split(",", 1)[1] + "\n" for line in text.splitlines())


@pytest.mark.parametrize(
    ("train", "test", "ids"),
    [
        (without_ids(TRAIN), without_ids(TEST), [1, 2, 3, 4]),
        (without_ids(TRAIN), TEST, [1, 2, 3, 10]),
        (TRAIN, without_ids(TEST), [1, 2, 3, 4]),
    ],
)
def test_rows_without_ids_are_numbered(
    tmp_path: Path, data_params: DataParams, train: str, test: str, ids: list[int]
) -> None:
    found = read(tmp_path, data_params, train, test)
    assert pd.concat(found)["id"].tolist() == ids
    with pytest.raises(InputError, match=r"train\.csv: no column id; it has ID, "):
        read(tmp_path, data_params, TRAIN.replace("id,", "ID,", 1))


def test_what_no_memory_could_hold_is_refused_before_it_is_read(
    tmp_path: Path, data_params: DataParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_file, "MEMORY", 10**12)
    with pytest.raises(InputError, match=r"train\.csv: 0\.0 GB: to prepare it takes some \d+ GB of memory, and this "):
        read(tmp_path, data_params)
