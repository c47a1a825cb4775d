"""What made these results: hashes of the data and of what came of it, params, seeds, versions, commit and machine.

Why two runs differ is seen by comparing their manifests (`diff` will do): those of two cold runs on one machine differ in the
hashes of dvc.lock and of the blend's metrics and table alone, which know of measured times. No time stands in it, and params are
without absolute paths and without the hosts of addresses.

in:  params.yaml, dvc.lock and those of the study if there are any, data.source and the folders that params name
out: study/manifest/manifest.json
run: make study   (or python -m pipeline.stage --study report.manifest)
"""

import hashlib
import json
import re
from pathlib import Path, PurePath
from typing import Any

from pydantic import Field

from pipeline.contracts import Params, ProjectPath, read_params, read_yaml, redacted, write_text
from pipeline.contracts.params import PARAMS
from pipeline.data.source import DataParams
from pipeline.environment import head, machine, packages
from pipeline.places import STUDY

OUT = STUDY / "manifest/manifest.json"
LOCKS = (Path("dvc.lock"), STUDY / "dvc.lock")
STAGE = "study/manifest"


class ManifestParams(Params):
    folders: list[ProjectPath] = Field(
        ["data/prepared", "data/embed", "predictions", "blend", "submission", "study/predictions"]
    )
    """Those whose files are listed, each with its SHA-256."""


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hashes(folder: Path, shown: str) -> dict[str, str]:
    """The SHA-256 of a file, or of every file below a folder, by path; `shown` stands for the folder's own."""
    if folder.is_file():
        return {shown: sha256(folder)}
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {f"{shown}/{path.relative_to(folder).as_posix()}": sha256(path) for path in files}


def without_places(values: Any) -> Any:
    """Params with absolute paths cut down to their last part, also in commands, and without the hosts of addresses.

    Where somebody keeps or serves a model is nobody else's business.
    """
    if isinstance(values, dict):
        return {key: without_places(value) for key, value in values.items()}
    if isinstance(values, list):
        return [without_places(value) for value in values]
    if not isinstance(values, str):
        return values
    values = re.sub(r"(?<=://)[^\s/]+", "...", values)
    return re.sub(r"(?:(?<=^)|(?<=[\s=]))[/~][^\s=]*", lambda path: f".../{PurePath(path[0]).name}", values)


def seeds(values: Any, prefix: str = "") -> dict[str, Any]:
    """Every `seed` and `seeds` among nested params, by name with dots."""
    found: dict[str, Any] = {}
    for key, value in values.items() if isinstance(values, dict) else ():
        found |= {f"{prefix}{key}": value} if key in {"seed", "seeds"} else seeds(value, f"{prefix}{key}.")
    return found


def seeds_of(stage: dict[str, Any]) -> dict[str, Any]:
    """Those that an entry of dvc.lock ran with: of its params, and of the prompt that it depends on.

    Whatever else a stage draws, it draws by these and by constants and numbers of folds in its code.
    """
    found: dict[str, Any] = {}
    for values in stage.get("params", {}).values():  # of params.yaml, and of study/params.yaml
        found |= seeds(values)
    prompts = [Path(dep["path"]) for dep in stage.get("deps", []) if dep["path"].startswith("prompts/")]
    for path in prompts:
        found |= seeds(read_yaml(path), f"{path.stem}.")
    return found


def manifest(params: dict[str, Any], lock: dict[str, Any], files: dict[str, str]) -> dict[str, Any]:
    """All that is known, as JSON can hold it; `lock` is the content of dvc.lock."""
    stages = {name: stage for name, stage in sorted(lock.get("stages", {}).items()) if name != STAGE}
    at = head()
    return {
        "code": {
            "commit": at and at[0],
            "changed since": at and at[1],
            "dvc.lock": hashlib.sha256(json.dumps(stages, sort_keys=True).encode()).hexdigest() if stages else None,
        },
        "files": files,
        "seeds": {name: found for name, stage in stages.items() if (found := seeds_of(stage))},
        "machine": machine(),
        "packages": packages(),
        "params": without_places(params),
    }


def main() -> None:
    chosen = read_params("manifest", ManifestParams)
    params: Any = {str(path): read_yaml(path) for path in (PARAMS, STUDY / PARAMS)}
    locks: dict[Path, Any] = {path: read_yaml(path) or {} for path in LOCKS if path.is_file()}
    stages = [
        (path.parent / name, stage) for path, lock in locks.items() for name, stage in lock.get("stages", {}).items()
    ]
    lock = {"stages": {name.as_posix(): stage for name, stage in stages}}
    source = Path(read_params("data", DataParams).source)
    files = hashes(source, without_places(source.as_posix()))
    for folder in chosen.folders:
        files |= hashes(Path(folder), without_places(folder))
    found = manifest(params, lock, files)
    write_text(OUT, redacted(json.dumps(found, indent=2, ensure_ascii=False)) + "\n")
    print(
        f"{OUT}: {len(found['files'])} files, {len(found['seeds'])} stages with seeds, {len(found['packages'])} packages"
    )
