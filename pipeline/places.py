"""Where results lie: those of the main job in the project's folder, those of the study under study/.

The names are the same in both. The launcher says of which of the two a stage is (`python -m pipeline.stage --study`).
"""

from pathlib import Path

STUDY = Path("study")

_here = [Path()]


def work_in(folder: Path) -> None:
    """From now on this process writes its results below `folder`."""
    _here[0] = folder


def in_study() -> bool:
    return _here[0] == STUDY


def results(name: Path | str) -> Path:
    """The folder that this process writes results of this name to."""
    return _here[0] / name


def anywhere(path: Path | str) -> Path:
    """The result of this name that there is: that of this process's place before another's; the main job's if there is none."""
    return next((each / path for each in (_here[0], Path(), STUDY) if (each / path).exists()), Path(path))
