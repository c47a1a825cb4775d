"""The contracts between stages: typed params, prepared tweets, predictions, costs, and errors of one line.

Every stage depends on this file, so it stays small and free of torch and openai.
"""

import hashlib
import json
import os
import platform
import re
import reprlib
import resource
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from traceback import clear_frames
from types import TracebackType
from typing import Annotated, Any, Literal, NoReturn, TypeVar

import numpy as np
import pandas as pd
import psutil
from pandas.api.types import is_float_dtype, is_integer_dtype, is_string_dtype
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from pipeline.process import alone, end_with_dvc, exhausted, stage_name

PREPARED = Path("data/prepared")
PREDICTIONS = Path("predictions")
UNCALIBRATED = PREDICTIONS / "uncalibrated"
"""Where a classifier that calibrates its scores leaves them as they were before, under the same contract."""

School = Literal["generative", "discriminative", "prompted", "blend"]
TestRows = Literal["mean log-odds", "refit", "none"]

Model = TypeVar("Model", bound=BaseModel)


class InputError(Exception):
    """Something the user can mend: the message says what is wrong, where, and what to do, in one line."""


def run(main: Callable[[], None]) -> NoReturn:
    """Run a stage's main and exit: 0 when it returns, 1 with one line on stderr when the input or the machine is at fault.

    Neither that line nor a traceback shows what is secret.
    """
    sys.excepthook = show_redacted
    try:
        end_with_dvc()
        with alone(stage_name(main)):
            main()
    except InputError as error:
        clear_frames(error.__traceback__)  # a progress bar that is still open ends its line
        sys.exit(f"error: {printable(redacted(str(error)))}")
    except ModuleNotFoundError as error:
        sys.exit(f"error: {error.name} is not installed; run `make install`")
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if (line := exhausted(error)) is None:
            raise
        sys.exit(f"error: {line}")
    sys.exit(0)


def redacted(text: str) -> str:
    """The text without users and passwords of addresses, without their queries, and without secrets of the environment.

    Those are the values of variables whose names speak of a key, a token, a secret or a password.
    """
    text = re.sub(r"(?<=://)[^\s'\"]+@", "***@", text)
    text = re.sub(r"(\w+://[^\s?'\"]+\?)[^\s'\"]+", r"\1***", text)
    for name, value in os.environ.items():
        if re.search("KEY|TOKEN|SECRET|PASSWORD", name.upper()) and len(value) >= 8:
            text = text.replace(value, "***")
    return text


def show_redacted(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(redacted("".join(traceback.format_exception(kind, error, trace))))


def printable(text: str) -> str:
    """One line: what a terminal would not show as it is (line breaks, control characters) is written as its escape."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


# --- params -----------------------------------------------------------------------------------------------------------


class Params(BaseModel):
    """A section of params.yaml: unknown keys and wrong types are errors, never ignored."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def stays(path: str) -> str:
    """A path of params, unless it is relative and leads out of the project; for pydantic, so it raises `ValueError`."""
    if Path(os.path.normpath(path)).parts[:1] == ("..",):
        raise ValueError("leads out of the project; give an absolute path to a place outside of it")
    return path


ProjectPath = Annotated[str, AfterValidator(stays)]
"""A file or folder that params name: inside of the project, or an absolute path."""


def plain_name(name: str) -> str:
    """A name of params that becomes part of a command and of file names, unless there is more in it than a name has."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise InputError(f"{name!r:.60}: not a name; names are made of letters, digits, _ and -")
    return name


def first_fault(error: ValidationError | OSError) -> str:
    """The first thing that is wrong with a file, in one line."""
    if isinstance(error, OSError):
        return reason(error)
    first = error.errors()[0]
    return ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))


class Shown(reprlib.Repr):
    """A value, however large, on one short line; what is secret in a text is taken out before the text is cut."""

    def repr_str(self, x: str, level: int) -> str:
        return super().repr_str(redacted(x), level)


def validated(model: type[Model], values: object, where: str) -> Model:
    """`values` as a `model`; the first thing wrong with them as an `InputError` that begins with `where`."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join([where, *map(str, first["loc"])])
        if first["type"] == "extra_forbidden":
            raise InputError(f"{at}: unknown; known here: {', '.join(sorted(model.model_fields))}") from None
        given = "" if first["type"] == "missing" else f" (it is {Shown().repr(first['input']):.60})"
        raise InputError(f"{at}: {first['msg']}{given}") from None


def read_yaml(path: Path) -> object:
    """The content of a YAML 1.2 file: there `1e-4` is a number and `no` is a word, unlike in PyYAML."""
    try:
        return YAML(typ="safe").load(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {reason(error)}") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark
        at = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise InputError(f"{path}: not YAML: {at}{' '.join(str(error.problem).split())}") from None
    except ReaderError as error:
        line = path.read_bytes()[: error.position].count(b"\n") + 1
        raise InputError(f"{path}: not YAML: line {line}: not UTF-8, or a character that YAML forbids") from None
    except RecursionError:
        raise InputError(f"{path}: not YAML: nested too deeply") from None
    except (YAMLError, ValueError) as error:  # ValueError: a date or a number that is none
        raise InputError(f"{path}: not YAML: {' '.join(str(error).split())}") from None


def read_params(section: str, model: type[Model], path: Path = Path("params.yaml")) -> Model:
    """The section (dots descend into it) of the params file, validated."""
    values = read_yaml(path)
    for key in section.split("."):
        if not isinstance(values, dict) or key not in values:
            raise InputError(f"{path}: there is no section {section}")
        values = values[key]
    return validated(model, values, f"{path}: {section}")


# --- files ------------------------------------------------------------------------------------------------------------


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A path to write to that becomes `path` only if the block succeeds. What a killed process left of it is cleared."""
    begun = f".{path.name}.{platform.node()}."
    partial = path.with_name(f"{begun}{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for other in path.parent.iterdir():
            if other.name.startswith(begun) and not psutil.pid_exists(int(other.name.split(".")[-2])):
                other.unlink(missing_ok=True)
        yield partial
        partial.replace(path)
    except OSError as error:
        raise InputError(exhausted(error) or f"{path}: cannot be written: {reason(error)}") from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """What a JSON file that a stage wrote holds."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {reason(error)}") from None


def read_parquet(path: Path) -> pd.DataFrame:
    """The frame in a parquet file that a stage wrote."""
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError) as error:  # whatever bytes there are in it
        raise InputError(f"{path}: not a parquet file: {reason(error)}") from None


def reason(error: Exception) -> str:
    """What an error says, in one line and without the path that the reader of it was told."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:300] or type(error).__name__


# --- prepared tweets --------------------------------------------------------------------------------------------------


TWEET = {"id", "keyword", "location", "text", "raw_text", "group"}
LABELLED = {"target", "train_target", "fold"}
"""The columns of the prepared tweets, and those that only train has."""


@dataclass(frozen=True)
class Prepared:
    """The prepared tweets.

    Both frames hold `id` (int64), `keyword`, `location` (string or null), `text` (cleaned), `raw_text` and `group` (rows that
    are never split: near-duplicates share one). Where the source has a group column, whose rows share a `group` too, they
    also hold `duplicate`, the near-duplicates alone: see `near_duplicates`. `train` also holds `target` (0/1, what every score
    is measured against), `train_target` (what training may learn from; null where a row is left out) and `fold`.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    digest: str
    """Hash of both files: predictions made from other tweets are recognised by it."""


def near_duplicates(tweets: pd.DataFrame) -> pd.Series:
    """The near-duplicate group of each row, which may be a part of its `group`."""
    return tweets["duplicate" if "duplicate" in tweets else "group"]


def read_prepared(folder: Path = PREPARED) -> Prepared:
    paths = [folder / "train.parquet", folder / "test.parquet"]
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path}: no such file; run `dvc repro prepare` first")
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()
    train, test = map(read_parquet, paths)
    for path, frame, columns in ((paths[0], train, TWEET | LABELLED), (paths[1], test, TWEET)):
        if missing := columns - set(frame.columns):
            raise InputError(f"{path}: no column {', '.join(sorted(missing))}; run `dvc repro prepare` to make it anew")
    return Prepared(train, test, digest)


# --- predictions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Predictions:
    """One classifier's scores: `train` out-of-fold and `test` (empty if not scored), one row per tweet.

    Columns: `id`, `split`, `fold`, `score` = P(target = 1), `status` ("ok", or "unparsed" where the score is null).
    """

    name: str
    school: School
    test_rows: TestRows
    train: pd.DataFrame
    test: pd.DataFrame


class About(BaseModel):
    """What a predictions file says of itself, in its metadata."""

    name: str
    school: School
    test_rows: TestRows
    prepared: str
    """The digest of the tweets that it was made from."""


def predictions_frame(tweets: pd.DataFrame, split: Literal["train", "test"], scores: np.ndarray) -> pd.DataFrame:
    """Predictions for `tweets` from scores of shape (n,); NaN marks a reply that could not be read."""
    return pd.DataFrame(
        {
            "id": tweets["id"].to_numpy(),
            "split": split,
            "fold": tweets["fold"].to_numpy() if split == "train" else -1,
            "score": np.asarray(scores, dtype=np.float64),
            "status": np.where(np.isnan(scores), "unparsed", "ok"),
        }
    )


KINDS = {
    "id": is_integer_dtype,
    "split": is_string_dtype,
    "fold": is_integer_dtype,
    "score": is_float_dtype,
    "status": is_string_dtype,
}


def first_row(odd: pd.Series) -> int:
    """The row, counted from 1, of the first that is true."""
    return int(np.flatnonzero(odd)[0]) + 1


def unlike(found: pd.Series, due: np.ndarray) -> str:
    """Where a column is not as it is due, for messages; empty if it is."""
    both = min(len(found), len(due))
    if len(differ := np.flatnonzero(found.to_numpy()[:both] != due[:both])):
        at = differ[0]
        return f"row {found.index[at]}, column {found.name}: {found.iloc[at]} where {due[at]} is due"
    return "" if len(found) == len(due) else f"{len(found)} rows where {len(due)} are due"


def check_predictions(frame: pd.DataFrame, prepared: Prepared, school: School, where: str) -> None:
    """Raise `InputError` unless the frame keeps the contract of `Predictions` for these prepared tweets."""
    if list(frame.columns) != list(KINDS):
        raise InputError(f"{where}: columns are {', '.join(map(str, frame.columns))}, not {', '.join(KINDS)}")
    if wrong := [name for name, is_kind in KINDS.items() if not is_kind(frame[name].dtype)]:
        raise InputError(f"{where}: column {wrong[0]}: holds {frame[wrong[0]].dtype}")
    frame = frame.set_axis(pd.RangeIndex(1, len(frame) + 1))
    for column, known in (("split", ("train", "test")), ("status", ("ok", "unparsed"))):
        if (odd := ~frame[column].isin(known)).any():
            row = first_row(odd)
            value = frame[column].iloc[row - 1]
            raise InputError(f"{where}: row {row}, column {column}: {value!r:.60} must be {' or '.join(known)}")
    for split, tweets in (("train", prepared.train), ("test", prepared.test)):
        rows = frame[frame["split"] == split]
        expected = tweets["id"]
        if split == "train" and school == "prompted":  # may cover a part of the rows, in their order
            expected = expected[expected.isin(rows["id"])]
        elif rows.empty and school == "prompted":
            continue
        if at := unlike(rows["id"], expected.to_numpy()):
            raise InputError(
                f"{where}: {split} ids are not those of the prepared tweets, each once and in their order: {at}"
            )
        folds = tweets.set_index("id")["fold"].reindex(rows["id"]) if split == "train" else pd.Series(-1, rows.index)
        if at := unlike(rows["fold"], folds.to_numpy()):
            raise InputError(f"{where}: {split} folds differ from the prepared ones: {at}")
    unparsed = frame["status"] == "unparsed"
    if unparsed.any() and school != "prompted":
        raise InputError(
            f"{where}: {unparsed.sum()} scores are missing, the first in row {first_row(unparsed)}; only a prompted classifier "
            "may have unparsed rows"
        )
    if (bad := (frame["score"].isna() != unparsed) | ~(unparsed | frame["score"].between(0, 1))).any():
        row = first_row(bad)
        score, status = frame["score"].iloc[row - 1], frame["status"].iloc[row - 1]
        raise InputError(
            f"{where}: row {row}, column score: {score} where the status is {status}; scores must be probabilities in [0, 1], "
            "and null exactly where it is unparsed"
        )


def write_predictions(
    name: str,
    scored: list[pd.DataFrame],
    prepared: Prepared,
    school: School,
    test_rows: TestRows,
    folder: Path = PREDICTIONS,
) -> None:
    """Check and write `<folder>/<name>.parquet` from frames made by `predictions_frame`."""
    frame = pd.concat(scored, ignore_index=True)
    path = folder / f"{name}.parquet"
    check_predictions(frame, prepared, school, str(path))
    frame.attrs = {"name": name, "school": school, "test_rows": test_rows, "prepared": prepared.digest}
    with written_whole(path) as partial:
        frame.to_parquet(partial, index=False)


def read_predictions(path: Path, prepared: Prepared) -> Predictions:
    """Read and check one predictions file; refuse it if it was made from other prepared tweets."""
    frame = read_parquet(path)
    try:
        about = About.model_validate(frame.attrs)
    except ValidationError as error:
        raise InputError(f"{path}: not a predictions file: {first_fault(error)}") from None
    if about.name != path.stem:
        raise InputError(f"{path}: not a predictions file: it holds those of {about.name!r:.60}")
    if about.prepared != prepared.digest:
        raise InputError(f"{path}: made from other prepared tweets; run `dvc repro` to make it anew")
    check_predictions(frame, prepared, about.school, str(path))
    train, test = (frame[frame["split"] == split].reset_index(drop=True) for split in ("train", "test"))
    return Predictions(about.name, about.school, about.test_rows, train, test)


# --- costs ------------------------------------------------------------------------------------------------------------


class LlmCosts(BaseModel):
    """What an LLM's answers took in all, each counted once, whether they were asked for now or in an earlier run.

    None is what imported answers do not say.
    """

    model: str | None = None
    endpoint: Literal["embedded", "remote", "local", "imported"]
    scoring: str
    """How replies became scores; not the prompt's own way if the endpoint could not do that."""
    calibration: str
    prompt_version: int | None = None
    example_labels: int
    """How many labels the examples were chosen from (or a channel's prior computed from); none for zero-shot."""
    calibration_labels: int
    requests: int
    new_requests: int
    """Those that were sent in this run; the other answers were stored."""
    seconds: float | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    money: float | None = None
    unparsed: int


class Costs(BaseModel):
    """What a classifier cost: `fit_seconds` for all folds together, times on the machine that ran it.

    `predict_ms_per_tweet` is that of an LLM's request from sending it to its answer; others predict in batches. It is None for
    imported answers that do not say it. The last three are of new tweets, from their text on, through all the models that score
    them.
    """

    fit_seconds: float
    predict_ms_per_tweet: float | None = None
    peak_memory_mb: float
    trainable_parameters: int | None = None
    total_parameters: int | None = None
    llm: LlmCosts | None = None
    latency_ms_p50: float | None = None
    latency_ms_p95: float | None = None
    """Of one tweet alone: half, and 95 %, of the tweets take no longer."""
    tweets_per_second: float | None = None
    """Of many at once."""


def peak_memory_mb() -> float:
    """The largest resident set so far of the process, or of one that it started, in MB (10^6 bytes)."""
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def write_costs(name: str, costs: Costs) -> None:
    write_text(Path("costs") / f"{name}.json", costs.model_dump_json(indent=2, exclude_none=True) + "\n")


def read_costs(name: str) -> Costs:
    path = Path("costs") / f"{name}.json"
    try:
        return Costs.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise InputError(f"{path}: not a costs file: {first_fault(error)}") from None
