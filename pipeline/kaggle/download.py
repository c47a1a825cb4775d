"""Download the competition's files from Kaggle into data/kaggle, once: what is there unchanged is not fetched again.

Needs a token (KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY, or ~/.kaggle/) and the competition's rules accepted
in a browser. Then: python -m pipeline.apply data.source=data/kaggle; make repro.

out: data/kaggle/train.csv, data/kaggle/test.csv, data/kaggle/checksums.json (of both; DVC does not see it)
run: python -m pipeline.kaggle.download   (--force fetches anew)
"""

import argparse
import hashlib
import shutil
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ValidationError

from pipeline.contracts import InputError, write_text, written_whole
from pipeline.data.csv_file import open_csv
from pipeline.kaggle.client import COMPETITION, client, only_one
from pipeline.process import run
from pipeline.store import store_folder

OUT = Path("data/kaggle")
CHECKSUMS = OUT / "checksums.json"
LARGEST = 5 * 10**7
"""Bytes of a file: the competition's have a million."""
HEADERS = {"train.csv": "id,keyword,location,text,target", "test.csv": "id,keyword,location,text"}


class Checksums(BaseModel):
    """What was fetched, and when (UTC)."""

    competition: str
    fetched: str
    files: dict[str, dict[str, str | int]]


def checksum(content: bytes) -> dict[str, str | int]:
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def changed(recorded: Checksums) -> list[str]:
    """The files that are missing or differ from the record."""
    there = {name: (OUT / name).read_bytes() for name in HEADERS if (OUT / name).is_file()}
    return [name for name in HEADERS if name not in there or recorded.files.get(name) != checksum(there[name])]


def fetch(competition: str) -> dict[str, bytes]:
    """The contents of the wanted files, read by name from the archive of all and never unpacked.

    A download that was cut lies in the store, where the next goes on; a whole one is gone from there, whatever is wrong with it.
    """
    folder = store_folder() / "kaggle" / competition
    with client(competition) as api:
        api.competition_download_files(competition, path=str(folder), quiet=False)
    try:
        (archive,) = (path for path in folder.iterdir() if path.suffix != ".kaggle-partial")
        contents = {}
        for name in HEADERS:
            with open_csv(archive, name, LARGEST) as file:
                contents[name] = file.read()
    finally:
        shutil.rmtree(folder)
    for name, content in contents.items():
        header = content.split(b"\n", 1)[0].decode("utf-8-sig", "replace").strip()
        if header != HEADERS[name]:
            raise InputError(
                f"{name}: what Kaggle sent begins with {header!r:.60} and not with {HEADERS[name]}: "
                "is --competition that of the disaster tweets?"
            )
    return contents


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--force", action="store_true", help="fetch the files even if they are there")
    parser.add_argument("--competition", default=COMPETITION, help="its name, if Kaggle has given it another")
    given = parser.parse_args()
    with only_one("download"):
        recorded = None
        with suppress(OSError, ValidationError):  # without a record that can be read, the files are fetched
            recorded = Checksums.model_validate_json(CHECKSUMS.read_bytes())
        if recorded and recorded.competition == given.competition and not given.force:
            if not (different := changed(recorded)):
                print(f"{OUT}: unchanged since it was fetched, {recorded.fetched}; --force fetches it again")
                return
            print(f"{OUT}: {' and '.join(different)} not as fetched, {recorded.fetched}: fetched again")
        contents = fetch(given.competition)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        files = {name: checksum(content) for name, content in contents.items()}
        for name, content in contents.items():
            with written_whole(OUT / name) as partial:
                partial.write_bytes(content)
        record = Checksums(competition=given.competition, fetched=now, files=files)
        write_text(CHECKSUMS, record.model_dump_json(indent=2) + "\n")
    for name, file in files.items():
        print(f"{OUT / name}: {file['bytes']:,} bytes, sha256 {file['sha256']}")
    print(f"next: python -m pipeline.apply data.source={OUT}; make repro")


if __name__ == "__main__":
    run(main)
