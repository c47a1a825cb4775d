"""Where the report comes from: commit, params, data, packages, machine."""

from typing import Any

import pandas as pd

from pipeline.environment import commit, machine, packages

PACKAGES = (
    "numpy", "pandas", "scikit-learn", "scipy", "torch", "transformers", "peft", "openai", "xllamacpp", "dvc", "altair",
)  # fmt: skip
"""Those that matter most to the results; requirements/ pins all."""


def flat(values: dict[str, Any]) -> list[tuple[str, str]]:
    """Nested params as names with dots and values."""
    (row,) = pd.json_normalize(values).to_dict("records")
    return [(str(name), "null" if value is None else str(value)) for name, value in row.items()]


def provenance(params: dict[str, Any], data: dict[str, Any], digest: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """Groups of names and values; data is prepare's report, digest that of the prepared tweets."""
    rows, installed = data["rows"], packages()
    tweets = [
        ("source", data["source"]),
        ("texts", f"{rows['train']:,} for training, {rows['test']:,} for testing"),
        ("folds", str(len(data["folds"]))),
        ("SHA-256 of the prepared texts", digest),
    ]
    return [
        ("Code", [("commit", commit() or "not in a git repository")]),
        ("Texts", tweets),
        ("Machine that made this page", list(machine().items())),
        ("Packages", [(name, installed[name]) for name in PACKAGES if name in installed]),
        ("Params", flat(params)),
    ]
