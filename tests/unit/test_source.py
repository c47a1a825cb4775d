"""Bad files are refused before any work, with file, row and column in one line."""

import zipfile
from pathlib import Path

import pytest

from pipeline.contracts import InputError
from pipeline.data.source import DataParams, read_source

TRAIN = "id,keyword,location,text,target\n1,fire,,A fire,1\n2,,,No fire,0\n3,,Rome,Nothing,0\n"
TEST = "id,keyword,location,text\n10,,,Smoke\n"


def write(folder: Path, train: str | bytes = TRAIN, test: str = TEST) -> str:
    (folder / "train.csv").write_bytes(train.encode() if isinstance(train, str) else train)
    (folder / "test.csv").write_text(test)
    return str(folder)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (TRAIN.replace(",target", ",label"), r"train\.csv: no column target; it has id, keyword"),
        (TRAIN.replace("3,,", "1,,"), r"train\.csv: row 3, column id: '1' is there twice"),
        (TRAIN.replace("3,,", "three,,"), r"train\.csv: row 3, column id: 'three' must be an integer"),
        (TRAIN.replace("Nothing,0", "Nothing,2"), r"train\.csv: row 3, column target: '2' must be one of 0, 1"),
        (TRAIN.replace("Nothing,0", "Nothing,"), r"train\.csv: row 3, column target: '' must be one of 0, 1"),
        (TRAIN.replace("No fire", "  "), r"train\.csv: row 2, column text: '  ' must not be empty"),
        (
            TRAIN.replace("Rome", "Zürich").encode("latin-1"),
            r"train\.csv: line 4 \(row 3, column location\): not UTF-8 \(byte 0xfc\)",
        ),
        ("<!DOCTYPE html><html>Sign in</html>", r"train\.csv: an HTML page, not a csv"),
        (
            'id,keyword,location,text,target\n1,,,"open,1\n',
            r"train\.csv: line 2 \(row 1\): not a csv: a quote is opened",
        ),
        ("id,keyword,location,text,target\n", r"train\.csv: no rows"),
        ("", r"train\.csv: not a csv"),
        (TRAIN.replace("fire,,A fire,1", ",,A fire,0"), r"train\.csv: column target: every row has the same label"),
    ],
)
def test_bad_train_csv(tmp_path: Path, data_params: DataParams, train: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        read_source(data_params.model_copy(update={"source": write(tmp_path, train)}))
    assert "\n" not in str(error.value)


def test_an_id_in_both_files_is_refused(tmp_path: Path, data_params: DataParams) -> None:
    source = write(tmp_path, test=TEST.replace("10,", "3,"))
    with pytest.raises(InputError, match=r"test\.csv: row 1, column id: 3 is also in train\.csv \(row 3\)"):
        read_source(data_params.model_copy(update={"source": source}))


def test_a_missing_folder_is_refused(data_params: DataParams) -> None:
    with pytest.raises(InputError, match="neither a folder nor a zip"):
        read_source(data_params.model_copy(update={"source": "nowhere"}))


def test_a_zip_reads_like_its_folder(tmp_path: Path, data_params: DataParams) -> None:
    folder = write(tmp_path)
    archive = tmp_path / "tweets.zip"
    with zipfile.ZipFile(archive, "w") as files:
        for name in ("train.csv", "test.csv"):
            files.write(tmp_path / name, name)
    for one, other in zip(
        *(read_source(data_params.model_copy(update={"source": str(s)})) for s in (folder, archive)), strict=True
    ):
        assert one.equals(other)


def test_other_columns_and_label_names_fit(tmp_path: Path, data_params: DataParams) -> None:
    columns = data_params.columns.model_copy(
        update={"id": "n", "keyword": None, "location": None, "text": "body", "target": "kind"}
    )
    params = data_params.model_copy(update={"source": str(tmp_path), "columns": columns, "labels": ["ham", "spam"]})
    write(tmp_path, "n,body,kind\n1,Hello,ham\n2,Win now,spam\n", "n,body\n3,Hi\n")
    train, test = read_source(params)
    assert train["target"].tolist() == [0, 1]
    assert test["keyword"].isna().all()
