"""Download the competition's files from Kaggle into data/kaggle, once: what is there unchanged is not fetched again.

Needs a token (KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY, or ~/.kaggle/) and the competition's rules accepted
in a browser. Then: python -m pipeline.apply data.source=data/kaggle; make repro.

out: data/kaggle/train.csv, data/kaggle/test.csv, data/kaggle/checksums.json (of both; DVC does not see it)
run: python -m pipeline.kaggle.download   (--force fetches anew)
"""

import argparse
import hashlib
import io
import shutil
import zipfile
import zlib
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ValidationError

from pipeline.contracts import InputError, write_text, written_whole
from pipeline.data.csv_file import check_size
from pipeline.kaggle.command import COMPETITION, kaggle, only_one
from pipeline.process import run
from pipeline.store import store_folder

OUT = Path("data/kaggle")
CHECKSUMS = OUT / "checksums.json"
HEADERS = {"train.csv": "id,keyword,location,text,target", "test.csv": "id,keyword,location,text"}


class File(BaseModel):
    sha256: str
    bytes: int


class Checksums(BaseModel):
    """What was fetched, and when (UTC)."""

    competition: str
    fetched: str
    files: dict[str, File]


def checksum(content: bytes) -> File:
    return File(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))


def read_checksums(path: Path = CHECKSUMS) -> Checksums | None:
    """The record of the last download; None if there is none that can be read: the files are fetched then."""
    try:
        return Checksums.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def changed(recorded: Checksums, folder: Path = OUT) -> list[str]:
    """The files that are missing or differ from the record."""
    return [
        name
        for name in HEADERS
        if not (folder / name).is_file() or recorded.files.get(name) != checksum((folder / name).read_bytes())
    ]


def members(name: str, content: bytes) -> dict[str, bytes]:
    """The wanted files in what Kaggle sent as `name`: a zip, or one of them as it is.

    A zip's members are read by name and never unpacked: one that would be written elsewhere is not looked at.
    """
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return {name: content} if name in HEADERS else {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as files:
            found = [wanted for wanted in HEADERS if wanted in files.namelist()]
            for wanted in found:
                check_size(files.getinfo(wanted).file_size, wanted)
            return {wanted: files.read(wanted) for wanted in found}
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{name}: what Kaggle sent is a zip that cannot be read: {error}; run again") from None


def check_header(name: str, content: bytes) -> None:
    header = content.split(b"\n", 1)[0].decode("utf-8-sig", "replace").strip()
    if header != HEADERS[name]:
        raise InputError(
            f"{name}: what Kaggle sent begins with {header!r:.60} and not with {HEADERS[name]}: "
            "is --competition that of the disaster tweets?"
        )


def fetch(competition: str, partial: Path, *arguments: str) -> dict[str, bytes]:
    """The wanted files in one answer of Kaggle; one that is cut stays in the folder `partial`, where the next goes on."""
    folder = partial / (arguments[-1] if arguments else "all")
    kaggle(competition, "download", "-p", str(folder), *arguments)
    sent = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".kaggle-partial"}
    shutil.rmtree(folder)  # whole, so what is wrong with it is not mended by going on
    return {wanted: content for name, whole in sent.items() for wanted, content in members(name, whole).items()}


def download(competition: str, partial: Path) -> dict[str, bytes]:
    """The contents of the wanted files: from the archive of all, or else each by itself."""
    contents = fetch(competition, partial)
    for name in HEADERS:
        if name not in contents:
            contents |= fetch(competition, partial, "-f", name)
        if name not in contents:
            raise InputError(f"{name}: not in what Kaggle sent; the competition has other files now")
        check_header(name, contents[name])
    return contents


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--force", action="store_true", help="fetch the files even if they are there")
    parser.add_argument("--competition", default=COMPETITION, help="its name, if Kaggle has given it another")
    given = parser.parse_args()
    with only_one("download"):
        recorded = read_checksums()
        if recorded and recorded.competition == given.competition and not given.force:
            if not (different := changed(recorded)):
                print(f"{OUT}: unchanged since it was fetched, {recorded.fetched}; --force fetches it again")
                return
            print(f"{OUT}: {' and '.join(different)} not as fetched, {recorded.fetched}: fetched again")
        contents = download(given.competition, store_folder() / "kaggle" / given.competition)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        files = {name: checksum(content) for name, content in contents.items()}
        for name, content in contents.items():
            with written_whole(OUT / name) as partial:
                partial.write_bytes(content)
        record = Checksums(competition=given.competition, fetched=now, files=files)
        write_text(CHECKSUMS, record.model_dump_json(indent=2) + "\n")
    for name, file in files.items():
        print(f"{OUT / name}: {file.bytes:,} bytes, sha256 {file.sha256}")
    print(f"next: python -m pipeline.apply data.source={OUT}; make repro")


if __name__ == "__main__":
    run(main)
