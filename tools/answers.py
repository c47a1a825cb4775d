"""The store of answers: what it holds and cost, as a file, without some of it, or made anew from transcripts.

run: python -m tools.answers size
     python -m tools.answers export answers.jsonl
     python -m tools.answers prune --model NAME --before 2026-01-31
     python -m tools.answers rebuild [transcripts/prompt_zero_shot.jsonl ...]

MODEL is any part of what names a model: a file's hash, an address, a name. `rebuild` reads transcripts and exports alike, without
names all of transcripts/.
"""

import argparse
from contextlib import closing
from datetime import date
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from pipeline.contracts import InputError, read_params, written_whole
from pipeline.places import STUDY
from pipeline.process import run
from pipeline.prompting.answers import AnswerStore, Line
from pipeline.prompting.params import Prices
from pipeline.store import store_folder


def read_lines(path: Path) -> list[Line]:
    """The lines of a file; one that is no line of a transcript is an `InputError` with its number."""
    found: list[Line] = []
    try:
        with path.open(encoding="utf-8") as file:
            found.extend(map(Line.model_validate_json, file))
    except ValidationError as error:
        what = error.errors()[0]["msg"]
        raise InputError(f"{path}: line {len(found) + 1}: not of a transcript: {what}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    return found


def size(store: AnswerStore, model: str, prices: Prices) -> str:
    """A table, one row a model: what its answers used, and what they cost at today's prices."""
    tokens = ("prompt_tokens", "cached_tokens", "completion_tokens", "seconds")
    rows = [
        {"model": line.identity, "answers": 1}
        | {name: getattr(pair.answer, name) for name in tokens}
        | {"money": prices.of(pair.answer), "first": line.created, "last": line.created}
        for line in store.all(model)
        for pair in line.asked
    ]
    if not rows:
        return "no answers"
    how = dict.fromkeys(list(rows[0])[1:], "sum") | {"first": "min", "last": "max"}
    return str(pd.DataFrame(rows).groupby("model").agg(how).to_string())


def rebuild(store: AnswerStore, files: list[Path]) -> int:
    """Put the answers of transcripts or exports into the store; how many were new to it."""
    held = store.count()
    for path in files or [
        path for place in (Path(), STUDY) for path in sorted((place / "transcripts").glob("*.jsonl"))
    ]:
        for line in read_lines(path):
            if line.model:
                store.name(line.identity, line.model)
            for pair in line.stored():
                store.put(line.identity, pair.request, pair.answer, line.created)
    return store.count() - held


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    sizing = commands.add_parser("size", help="what it holds, and what that cost at the prices of params.yaml")
    exporting = commands.add_parser("export", help="all answers as JSON lines")
    exporting.add_argument("file", type=Path)
    pruning = commands.add_parser("prune", help="delete answers; say which")
    for command in (sizing, exporting, pruning):
        command.add_argument("--model", default="")
    pruning.add_argument("--before", type=date.fromisoformat, help="a date such as 2026-01-31")
    pruning.add_argument("--all", action="store_true")
    rebuilding = commands.add_parser("rebuild", help="put the answers of transcripts or exports into it")
    rebuilding.add_argument("files", type=Path, nargs="*", help="all of transcripts/ if none is named")
    given = parser.parse_args()
    path = store_folder() / "answers.sqlite"
    with closing(AnswerStore(path)) as store:
        match given.command:
            case "size":
                table = size(store, given.model, read_params("prompt.price_per_million_tokens", Prices))
                print(f"{path}: {path.stat().st_size / 1e6:.1f} MB\n{table}")
            case "export":
                with written_whole(given.file) as partial, partial.open("w", encoding="utf-8") as file:
                    file.writelines(f"{line.model_dump_json(exclude_unset=True)}\n" for line in store.all(given.model))
                print(f"{given.file}: {sum(1 for _ in given.file.open(encoding='utf-8')):,} answers")
            case "prune":
                if not (given.model or given.before or given.all):
                    raise InputError("prune: say what to delete: --model, --before or --all")
                deleted = store.prune(given.model, given.before.isoformat() if given.before else "")
                print(f"{deleted:,} answers deleted")
            case "rebuild":
                print(f"{rebuild(store, given.files):,} answers were new to the store")


if __name__ == "__main__":
    run(main)
