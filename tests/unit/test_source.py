"""A source is read whatever it is packed in, and whatever its columns and labels are called; what is refused: test_malformed."""

import zipfile
from pathlib import Path

from pipeline.data.source import DataParams, read_source

TRAIN = "id,keyword,location,text,target\n1,fire,,A fire,1\n2,,,No fire,0\n3,,Rome,Nothing,0\n"
TEST = "id,keyword,location,text\n10,,,Smoke\n"


def write(folder: Path, train: str | bytes = TRAIN, test: str = TEST) -> str:
    (folder / "train.csv").write_bytes(train.encode() if isinstance(train, str) else train)
    (folder / "test.csv").write_text(test)
    return str(folder)


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
