"""Download the competition's files from Kaggle into data/kaggle.

Needs a token (KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY, or ~/.kaggle/) and the competition's rules accepted
in a browser. Then: dvc repro with data.source: data/kaggle.

run: python -m pipeline.data.download
"""

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from pipeline.contracts import InputError, run, written_whole

COMPETITION = "nlp-getting-started"
OUT = Path("data/kaggle")
FILES = ("train.csv", "test.csv")

# What the kaggle command line prints, and what a user should read instead.
KNOWN_FAILURES = {
    r"Authentication required|\b401\b|Unauthorized": (
        "no Kaggle token, or one that Kaggle refuses: create one in your settings there and set KAGGLE_API_TOKEN to it"
    ),
    r"\b403\b|Forbidden|accept.*rules": f"Kaggle wants its rules accepted first, at kaggle.com/c/{COMPETITION}/rules",
    r"\b404\b|Not Found": f"Kaggle knows no competition {COMPETITION}",
    r"ConnectionError|Max retries exceeded": "Kaggle cannot be reached: check the network and run again",
}


def explain(output: str) -> str:
    """One line on why the kaggle command failed, from what it printed."""
    for sign, meaning in KNOWN_FAILURES.items():
        if re.search(sign, output):
            return meaning
    lines = [line for line in output.splitlines() if line.strip()]
    return f"the kaggle command failed: {lines[-1] if lines else 'it printed nothing'}"


def fetch(folder: Path) -> Path:
    """Run the kaggle command line and return the zip that it left in `folder`.

    It authenticates at import and exits where it cannot, so it is a process of its own.
    """
    command = [sys.executable, "-m", "kaggle", "competitions", "download", "-c", COMPETITION, "-p", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    archive = folder / f"{COMPETITION}.zip"
    if done.returncode != 0 or not archive.is_file():
        raise InputError(explain(done.stdout + done.stderr))
    return archive


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        archive = fetch(Path(folder))
        try:
            with zipfile.ZipFile(archive) as files:
                contents = {name: files.read(name) for name in FILES}
        except (zipfile.BadZipFile, KeyError) as error:
            raise InputError(f"what Kaggle sent is not a zip with {' and '.join(FILES)}: {error}") from None
    for name, content in contents.items():
        with written_whole(OUT / name) as partial:
            partial.write_bytes(content)
        print(f"{OUT / name}: {len(content):,} bytes")


if __name__ == "__main__":
    run(main)
