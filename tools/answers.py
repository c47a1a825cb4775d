"""The store of answers: what it holds and cost, as a file, without some of it, or made anew from transcripts.

run: python -m tools.answers size
     python -m tools.answers export answers.jsonl
     python -m tools.answers prune --model NAME --before 2026-01-31
     python -m tools.answers rebuild [transcripts/prompt_zero_shot.jsonl ...]

MODEL is any part of what names a model: a file's hash, an address, a name. `rebuild` reads transcripts and exports alike, without
names all of transcripts/.
"""

import argparse
import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import date
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from pipeline.contracts import InputError, read_params, written_whole
from pipeline.places import STUDY
from pipeline.process import run
from pipeline.prompting.answers import AnswerStore, Line, Stored
from pipeline.prompting.params import Prices
from pipeline.store import store_folder


def read_lines(path: Path) -> Iterator[Line]:
    """The lines of a file; one that is no line of a transcript is an `InputError` with its number."""
    try:
        number = 0
        with path.open(encoding="utf-8") as file:
            for text in file:
                number += 1
                yield Line.model_validate_json(text)
    except ValidationError as error:
        raise InputError(f"{path}: line {number}: not of a transcript: {error.errors()[0]['msg']}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None


def summary(stored: Iterable[Stored], prices: Prices) -> pd.DataFrame:
    """One row a model: what its answers used, and what they cost at today's prices."""
    tokens = ("prompt_tokens", "cached_tokens", "completion_tokens", "seconds")
    rows = [
        {"model": one.identity, "answers": 1}
        | {name: getattr(one.answer, name) for name in tokens}
        | {"money": prices.of(one.answer), "first": one.created, "last": one.created}
        for one in stored
    ]
    if not rows:
        return pd.DataFrame()
    how = dict.fromkeys(list(rows[0])[1:], "sum") | {"first": "min", "last": "max"}
    return pd.DataFrame(rows).groupby("model").agg(how)


def export(stored: Iterable[Stored], names: dict[str, str]) -> Iterator[str]:
    """A JSON line an answer, in a transcript's form."""
    for one in stored:
        pair = {"request": one.request, "answer": one.answer.model_dump(exclude_defaults=True)}
        line = {"id": None, "created": one.created, "identity": one.identity, "asked": [pair]}
        line |= {"model": names[one.identity]} if one.identity in names else {}
        yield json.dumps(line, ensure_ascii=False) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    size = commands.add_parser("size", help="what it holds, and what that cost at the prices of params.yaml")
    exporting = commands.add_parser("export", help="all answers as JSON lines")
    exporting.add_argument("file", type=Path)
    prune = commands.add_parser("prune", help="delete answers; say which")
    for command in (size, exporting, prune):
        command.add_argument("--model", default="")
    prune.add_argument("--before", type=date.fromisoformat, help="a date such as 2026-01-31")
    prune.add_argument("--all", action="store_true")
    rebuild = commands.add_parser("rebuild", help="put the answers of transcripts or exports into it")
    rebuild.add_argument("files", type=Path, nargs="*", help="all of transcripts/ if none is named")
    given = parser.parse_args()
    path = store_folder() / "answers.sqlite"
    with closing(AnswerStore(path)) as store:
        match given.command:
            case "size":
                found = summary(store.all(given.model), read_params("prompt.price_per_million_tokens", Prices))
                print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
                print(found.to_string() if len(found) else "no answers")
            case "export":
                with written_whole(given.file) as partial, partial.open("w", encoding="utf-8") as file:
                    file.writelines(export(store.all(given.model), store.names()))
                print(f"{given.file}: {sum(1 for _ in given.file.open(encoding='utf-8')):,} answers")
            case "prune":
                if not (given.model or given.before or given.all):
                    raise InputError("prune: say what to delete: --model, --before or --all")
                before = given.before.isoformat() if given.before else ""
                print(f"{store.prune(given.model, before):,} answers deleted")
            case "rebuild":
                held = store.count()
                kept = [path for place in (Path(), STUDY) for path in sorted((place / "transcripts").glob("*.jsonl"))]
                for path in given.files or kept:
                    for line in list(read_lines(path)):
                        if line.model:
                            store.name(line.identity, line.model)
                        for pair in line.stored():
                            store.put(line.identity, pair.request, pair.answer, line.created)
                print(f"{store.count() - held:,} answers were new to the store")


if __name__ == "__main__":
    run(main)
