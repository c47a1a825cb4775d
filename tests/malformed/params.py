"""A params.yaml that is none, or says what cannot be."""

from pathlib import Path

from .case import PARAMS, Case, instead, loop, recoded, removed, replaced, whole

WHERE = r"params\.yaml: "
LABELS = "labels: # names of target 0 and target 1\n  - not disaster\n  - disaster\n"
ALPHA = "alpha: # to try\n  - 0.5\n  - 1.0\n  - 2.0\n"


def laughs(project: Path) -> None:
    """A list that is 10^9 long when it is written out."""
    lists = ["lol0: &lol0 [ha]"] + [f"lol{n}: &lol{n} [{', '.join([f'*lol{n - 1}'] * 10)}]" for n in range(1, 10)]
    path = project / PARAMS
    text = path.read_text().replace(LABELS, "labels: *lol9\n")
    path.write_text("\n".join([*lists, text]))


def param(old: str, new: str) -> object:
    return replaced(PARAMS, old, new)


CASES = [
    Case("No params", removed(PARAMS), WHERE + "no such file"),
    Case("Empty params", whole(PARAMS, ""), WHERE + "there is no section data"),
    Case("Params that are a list", whole(PARAMS, "- data\n- prepare\n"), WHERE + "there is no section data"),
    Case("Params that are a folder", instead(PARAMS, Path.mkdir), WHERE + "cannot be read: Is a directory"),
    Case("Params that are a symlink to itself", instead(PARAMS, loop), WHERE + "cannot be read: Too many levels of .*"),
    Case(
        "A bracket that is not closed",
        param(LABELS, "labels: [not disaster\n"),
        WHERE + r"not YAML: line \d+, column \d+: .*",
    ),
    Case(
        "A tab for an indent",
        param("  folds: 5", "\tfolds: 5"),
        WHERE + r"not YAML: line \d+, column 1: found character '\\t' .*",
    ),
    Case(
        "A key twice",
        param("  folds: 5", "  folds: 5\n  folds: 6"),
        WHERE + r'not YAML: line \d+, column 3: found duplicate key "folds" .*',
    ),
    Case(
        "An alias to nothing",
        param("folds: 5", "folds: *five"),
        WHERE + r"not YAML: line \d+, column \d+: found undefined alias 'five'",
    ),
    Case(
        "An object of Python",
        param("folds: 5", "folds: !!python/name:os.system"),
        WHERE + r"not YAML: line \d+, column \d+: could not determine a constructor .*",
    ),
    Case(
        "Latin-1 in params",
        recoded(PARAMS, lambda raw: raw.replace(b"not disaster", b"n\xf6t disaster")),
        WHERE + "not YAML: .*",
    ),
    Case(
        "NUL in params",
        recoded(PARAMS, lambda raw: raw.replace(b"not disaster", b"n\0t disaster")),
        WHERE + "not YAML: .*",
    ),
    Case("UTF-16 params", recoded(PARAMS, lambda raw: raw.decode().encode("utf-16")[:-1]), WHERE + "not YAML: .*"),
    Case("A date that is none", param("folds: 5", "folds: 2026-13-45"), WHERE + "not YAML: month must be in 1..12"),
    Case("Brackets a thousand deep", param("folds: 5", f"folds: {'[' * 1000}"), WHERE + "not YAML: nested too deeply"),
    Case("A billion laughs", laughs, WHERE + r"data\.labels\.0: Input should be a valid string \(it is .{,70}\)"),
    Case(
        "A list within itself", param(LABELS, "labels: &labels [*labels, disaster]\n"), WHERE + r"data\.labels\.0: .*"
    ),
    Case(
        "A section that is misspelt",
        param("prepare:", "prepared:"),
        WHERE + r"there is no section prepare; did you mean prepared\?",
    ),
    Case(
        "A key that is unknown",
        param("  folds: 5", "  folds: 5\n  fold: 5"),
        WHERE + r"prepare\.fold: unknown; did you mean folds\? known here: conflicts, folds, near_duplicate, seed",
    ),
    Case(
        "A word for a number",
        param("folds: 5", "folds: five"),
        WHERE + r"prepare\.folds: Input should be a valid integer \(it is 'five'\)",
    ),
    Case(
        "A number for a list",
        param(LABELS, "labels: 2\n"),
        WHERE + r"data\.labels: Input should be a valid list \(it is 2\)",
    ),
    Case(
        "A number that is none",
        param("near_duplicate: 0.5", "near_duplicate: .nan"),
        WHERE + r"prepare\.near_duplicate: .* \(it is nan\)",
    ),
    Case(
        "An infinite number",
        param(ALPHA, "alpha: [.inf]\n"),
        WHERE + r"naive_bayes\.alpha\.0: Input should be a finite number \(it is inf\)",
        "pipeline.counts.naive_bayes",
    ),
    Case(
        "A negative number",
        param(ALPHA, "alpha: [-1]\n"),
        WHERE + r"naive_bayes\.alpha\.0: .* \(it is -1(\.0)?\)",
        "pipeline.counts.naive_bayes",
    ),
    Case(
        "No values to try",
        param(ALPHA, "alpha: []\n"),
        WHERE + r"naive_bayes\.alpha: .*",
        "pipeline.counts.naive_bayes",
    ),
    Case(
        "A seed of 20 digits",
        param("seed: 0\n  near", "seed: 99999999999999999999\n  near"),
        WHERE + r"prepare\.seed: Input should be less than 4294967296 .*",
    ),
    Case(
        "More folds than rows",
        param("folds: 5", "folds: 500"),
        WHERE + r"prepare\.folds: 500 is too many; groups of tweets with the rarer label: 20",
    ),
    Case(
        "One fold",
        param("folds: 5", "folds: 1"),
        WHERE + r"prepare\.folds: Input should be greater than or equal to 2 \(it is 1\)",
    ),
    Case(
        "More inner folds than rows",
        param("  inner_folds: 3\n\nnaive_bayes", "  inner_folds: 300\n\nnaive_bayes"),
        WHERE + r"inner_folds: 300 is too many; the commoner label has \d+ tweets",
        "pipeline.counts.naive_bayes",
    ),
    Case(
        "A path that is not there",
        param("source: data/sample", "source: data/smaple"),
        "data/smaple: neither a folder nor a zip file, .*",
    ),
    Case(
        "A path with NUL",
        param("source: data/sample", 'source: "data/sam\\0ple"'),
        r".*: neither a folder nor a zip file, .*",
    ),
    Case(
        "One label's name for both",
        param(LABELS, "labels: [disaster, disaster]\n"),
        WHERE + r"data\.labels: must be two different names, .*",
    ),
    Case(
        "A classifier to submit that is not there",
        param("classifier: #", "classifier: best #"),
        WHERE + r"submission\.classifier: best did not score every test row; some did",
        "pipeline.compare.submission",
    ),
]
