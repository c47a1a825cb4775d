"""Model files that Python packages carry, so that a first run needs no model hub."""

from importlib.util import find_spec
from pathlib import Path

from pipeline.contracts import InputError, read_json, reason

PREFIX = "package:"


def locate(model: str) -> str:
    """`package:NAME/PATH` as the path of that file or folder inside the installed package NAME; all else unchanged."""
    if not model.startswith(PREFIX):
        check_indexes(Path(model))
        return model
    name, _, inside = model.removeprefix(PREFIX).partition("/")
    # it is not imported: only the weights in it are wanted
    spec = find_spec(name) if name.isidentifier() and name != "__main__" else None
    roots = spec.submodule_search_locations if spec else None
    if not roots:
        raise InputError(f"{model}: the package {name} is not installed; run `make install`")
    if inside.startswith("/") or ".." in Path(inside).parts:
        raise InputError(f"{model}: leads out of the package")
    path = Path(roots[0]) / inside
    if not path.exists():
        raise InputError(f"{model}: the package {name} holds no {inside}")
    return str(path)


def check_indexes(folder: Path) -> None:
    """Raise `InputError` if a list of a model's files of weights in its folder names files that are elsewhere."""
    for path in [*folder.glob("*.index.json"), *folder.glob("*/*.index.json")]:
        listed = read_json(path)
        names = listed.get("weight_map") if isinstance(listed, dict) else None
        if not isinstance(names, dict) or any(Path(str(name)).name != name for name in names.values()):
            raise InputError(f"{path}: it must name files of weights beside it, and no others")


def unloadable(model: str, error: Exception) -> InputError:
    """One line on why a model cannot be loaded."""
    if "trust_remote_code" in str(error):
        return InputError(f"{model}: it brings code of its own, which is never run; name a model that needs none")
    if "safetensors" in str(error):
        return InputError(
            f"{model}: no weights as safetensors, and others (pickles) are not read; load it where you trust it and "
            "save it anew, with save_pretrained"
        )
    return InputError(f"{model}: cannot be loaded: {reason(error)}")
