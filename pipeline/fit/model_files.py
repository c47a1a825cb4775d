"""The files that trained models are kept in: scikit-learn's objects by skops, tensors as safetensors, the rest as JSON.

None of them is a pickle, so a model that came from elsewhere can be read: at worst it gives wrong scores. All that is wrong
with a file is an `InputError`, and no object is made of a file before each type in it was found to be trusted.
"""

import io
import json
import re
import struct
import sys
import tokenize
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

from pydantic import BaseModel

from pipeline.contracts import InputError, Model, validated, write_text, written_whole

if TYPE_CHECKING:
    from torch import Tensor

TRUSTED = [
    "pipeline.counts.log_count_ratios.NbSvm",
    "pipeline.vectors.separate_gaussians.SeparateGaussians",
    "pipeline.vectors.space._LabelledDirections",
]
"""What a skops file may hold beside what skops itself trusts: scikit-learn's estimators (no trees), arrays and plain values.

A class of one's own that models are made of is named here, by the module that it is defined in; that must not be the
stage's, whose classes are those of `__main__` when it runs.
"""

LARGEST, DENSEST = 10**8, 100
"""A skops file may unpack to so many bytes, or else to so many times its own size: more is a bomb, and no model."""

UNREADABLE = (
    OSError, BadZipFile, zlib.error, struct.error, EOFError, LookupError, ArithmeticError, MemoryError,
    ValueError, TypeError, AttributeError, ImportError, RuntimeError, tokenize.TokenError,
)  # fmt: skip
"""What skops, zipfile and numpy raise at files that are damaged or made up."""

Kind = TypeVar("Kind")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever is wrong with a model's file, in one line."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run `dvc repro` to make the model anew") from None
    except UNREADABLE as error:
        raise InputError(
            f"{path}: not a model's file: {' '.join(str(error).split())[:200]}; run `dvc repro` to make the model anew"
        ) from None


@contextmanager
def without_torch() -> Iterator[None]:
    """Hides torch unless it is loaded: skops loads all of scikit-learn, a part of which would load it."""
    hidden = "torch" not in sys.modules
    if hidden:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hidden:
            del sys.modules["torch"]


def write_estimator(path: Path, estimator: object) -> None:
    """Keep an object of scikit-learn's, or arrays in lists and dictionaries: the same one in the same bytes every time.

    skops calls its parts by where they were in memory, and an archive holds the time: here they are numbered, and have none.
    """
    with without_torch():
        import skops.io  # noqa: PLC0415 - it loads all of scikit-learn to know its estimators

    with ZipFile(io.BytesIO(skops.io.dumps(estimator))) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    names: dict[str, str] = {}
    schema = re.sub(
        r'(?<="__id__": )\d+|(?<="file": ")[\w-]+',
        lambda found: names.setdefault(found[0], str(len(names) + 1)),
        parts.pop("schema.json").decode(),
    )
    content = {"schema.json": schema.encode()}
    content |= {names[Path(name).stem] + Path(name).suffix: part for name, part in parts.items()}
    with written_whole(path) as partial, ZipFile(partial, "w") as archive:
        for name, part in content.items():
            archive.writestr(ZipInfo(name), part, ZIP_DEFLATED, compresslevel=9)


def read_estimator(path: Path, kind: type[Kind]) -> Kind:
    """What `write_estimator` kept: of that kind, and made of nothing but the trusted types."""
    with without_torch():
        import skops.io.exceptions  # noqa: PLC0415 - as above

    with reading(path):
        with ZipFile(path) as archive:  # no more of a part is unpacked than it declares
            unpacked = sum(part.file_size for part in archive.infolist())
        if unpacked > max(LARGEST, DENSEST * path.stat().st_size):
            raise ValueError(f"it would unpack to {unpacked / 1e6:,.0f} MB")
        try:
            found = skops.io.load(path, trusted=TRUSTED)
        except skops.io.exceptions.UntrustedTypesFoundException as error:
            raise InputError(f"{path}: refused, nothing of it was run: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(found, kind):
        raise InputError(f"{path}: it holds a {type(found).__name__}, not a {kind.__name__}")
    return found


def write_json(path: Path, values: BaseModel) -> None:
    """Keep plain values."""
    write_text(path, json.dumps(values.model_dump(mode="json"), separators=(",", ":")) + "\n")


def read_json(path: Path, model: type[Model]) -> Model:
    """What `write_json` kept, validated."""
    with reading(path):
        values: Any = json.loads(path.read_bytes())
    return validated(model, values, str(path))


def check_width(path: Path, fitted: object, width: int) -> None:
    """Refuse an estimator that was fitted to another number of features than it will be given."""
    if (found := getattr(fitted, "n_features_in_", None)) != width:
        raise InputError(f"{path}: it reads {found} features, and is given {width}")


def write_tensors(path: Path, tensors: "dict[str, Tensor]") -> None:
    """Keep tensors by name."""
    from safetensors.torch import save_file  # noqa: PLC0415 - it loads torch, which classifiers over counts do without

    with written_whole(path) as partial:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, partial)


def read_tensors(path: Path, like: "dict[str, Tensor]") -> "dict[str, Tensor]":
    """What `write_tensors` kept, on the CPU: the names and shapes must be those of `like`, and the numbers finite."""
    from safetensors import SafetensorError  # noqa: PLC0415 - as above
    from safetensors.torch import load  # noqa: PLC0415

    with reading(path):
        content = path.read_bytes()  # a file that is mapped, and written by another run meanwhile, ends the process
        try:
            found = load(content)
        except SafetensorError as error:
            raise ValueError(str(error)) from None
        shapes, expected = ({name: tuple(each.shape) for name, each in part.items()} for part in (found, like))
        if shapes != expected:
            wrong = min(name for name, _ in set(shapes.items()) ^ set(expected.items()))
            raise ValueError(
                f"{wrong} has shape {shapes.get(wrong)}, and {expected.get(wrong)} in a model of these params"
            )
        if not all(tensor.isfinite().all() for tensor in found.values()):
            raise ValueError("it holds numbers that are not finite")
    return dict(found)
