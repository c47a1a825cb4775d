"""Put away what a killed `dvc repro` left half written of DVC's own files, so that the next can start.

DVC writes dvc.lock and its note of who runs what in place: a kill at that moment leaves a part of them, and DVC then refuses to
do anything. Neither holds a result: finished stages are in DVC's cache, and are not run again.

run: python -m pipeline.mend   (make repro does)
"""

import json
import subprocess
from pathlib import Path

from dvc.dvcfile import Lockfile
from dvc.exceptions import DvcException, NotDvcRepoError
from dvc.lock import LockError, make_lock
from dvc.repo import Repo

from pipeline.contracts import InputError, run


def lock_is_whole(repo: Repo) -> bool:
    """Whether DVC can read dvc.lock."""
    try:
        Lockfile(repo, str(Path(repo.root_dir) / "dvc.lock")).load()
    except DvcException:
        return False
    return True


def committed(path: Path) -> bytes | None:
    """The file as git has it, if it does."""
    try:
        shown = subprocess.run(["git", "show", f"HEAD:./{path.name}"], cwd=path.parent, capture_output=True, check=True)  # noqa: S607
    except (OSError, subprocess.CalledProcessError):
        return None
    return shown.stdout


def mend_lock(repo: Repo) -> str | None:
    """Bring back the committed dvc.lock if that of the last run is a part only, or else none; a line on what was done."""
    path, torn = Path(repo.root_dir) / "dvc.lock", Path(repo.tmp_dir) / "dvc.lock.torn"
    if not path.exists() or lock_is_whole(repo):
        return None
    path.replace(torn)
    before = committed(path)
    if before is not None:
        path.write_bytes(before)
        if lock_is_whole(repo):
            return f"dvc.lock was half written: the committed one is back, the other is {torn}"
        path.unlink()
    return f"dvc.lock was half written: it is now {torn}, and the next `dvc repro` writes it anew"


def mend_rwlock(folder: Path) -> str | None:
    """Remove DVC's note of who runs what if it cannot be read; a line on what was done."""
    path = folder / "rwlock"
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        path.unlink()
        return f"{path} was half written: removed"
    return None


def main() -> None:
    try:
        repo = Repo()
    except NotDvcRepoError:
        raise InputError("no DVC project here; run it in the project's folder") from None
    folder = Path(repo.tmp_dir)
    try:
        with make_lock(str(folder / "lock")), make_lock(str(folder / "rwlock.lock")):
            done = [mend_lock(repo), mend_rwlock(folder)]
    except LockError:
        raise InputError(
            "another dvc is at work in this project; wait for it to end, or end it, and run again"
        ) from None
    for line in filter(None, done):
        print(f"mended: {line}")


if __name__ == "__main__":
    run(main)
