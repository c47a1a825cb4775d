"""A params.yaml that is none, or says what cannot be; what else is no YAML: test_properties."""

from pathlib import Path

from .case import PARAMS, PREPARE, Case, recoded, removed, replaced, whole

WHERE = r"params\.yaml: "
LABELS = "labels: # names of target 0 and target 1\n  - not disaster\n  - disaster\n"
ALPHA = "alpha: # to try\n  - 0.5\n  - 1.0\n  - 2.0\n"
SOURCE, NO_SOURCE = "source: data/sample", ": neither a folder nor a zip file, .*"
BAYES = "pipeline.counts.naive_bayes"


def laughs(project: Path) -> None:
    """A list that is 10^9 long when it is written out."""
    lists = ["lol0: &lol0 [ha]"] + [f"lol{n}: &lol{n} [{', '.join([f'*lol{n - 1}'] * 10)}]" for n in range(1, 10)]
    path = project / PARAMS
    text = path.read_text().replace(LABELS, "labels: *lol9\n")
    path.write_text("\n".join([*lists, text]))


def param(name: str, old: str, new: str, message: str, command: str = PREPARE) -> Case:
    """A part of params.yaml that is another, by the message that follows the file's name."""
    return Case(name, replaced(PARAMS, old, new), WHERE + message, command)


def folds(name: str, value: str, message: str) -> Case:
    return param(name, "folds: 5", f"folds: {value}", message)


def alpha(name: str, values: str, message: str) -> Case:
    return param(name, ALPHA, f"alpha: {values}\n", rf"naive_bayes\.alpha{message}", BAYES)


def labels(name: str, value: str, message: str) -> Case:
    return param(name, LABELS, f"labels: {value}\n", message)


CASES = [
    Case("No params", removed(PARAMS), WHERE + "no such file"),
    Case("Params that are a list", whole(PARAMS, "- data\n- prepare\n"), WHERE + "there is no section data"),
    labels("A bracket that is not closed", "[not disaster", r"not YAML: line \d+, column \d+: .*"),
    param("A tab for an indent", "  folds", "\tfolds", r"not YAML: line \d+, column 1: found character '\\t' .*"),
    folds("A key twice", "5\n  folds: 6", r'not YAML: line \d+, column 3: found duplicate key "folds" .*'),
    folds("An object of Python", "!!python/name:os.system", "not YAML: .*: could not determine a constructor .*"),
    Case("Latin-1 in params", recoded(PARAMS, lambda raw: raw.replace(b"not", b"n\xf6t")), WHERE + "not YAML: .*"),
    Case("UTF-16 params", recoded(PARAMS, lambda raw: raw.decode().encode("utf-16")[:-1]), WHERE + "not YAML: .*"),
    folds("Brackets a thousand deep", "[" * 1000, "not YAML: nested too deeply"),
    Case("A billion laughs", laughs, WHERE + r"data\.labels\.0: Input should be a valid string \(it is .{,70}\)"),
    param(
        "A section that is misspelt", "prepare:", "prepared:", r"there is no section prepare; did you mean prepared\?"
    ),
    folds(
        "A key that is unknown",
        "5\n  fold: 5",
        r"prepare\.fold: unknown; did you mean folds\? known here: conflicts, folds, near_duplicate, seed",
    ),
    folds("A word for a number", "five", r"prepare\.folds: Input should be a valid integer \(it is 'five'\)"),
    labels("A number for a list", "2", r"data\.labels: Input should be a valid list \(it is 2\)"),
    alpha("An infinite number", "[.inf]", r"\.0: Input should be a finite number \(it is inf\)"),
    alpha("A negative number", "[-1]", r"\.0: .* \(it is -1(\.0)?\)"),
    alpha("No values to try", "[]", ": .*"),
    param(
        "A seed of 20 digits",
        "seed: 0\n  near",
        f"seed: {'9' * 20}\n  near",
        r"prepare\.seed: .* less than 4294967296 .*",
    ),
    folds("More folds than rows", "500", r"prepare\.folds: 500 is too many; groups of tweets with the rarer label: 20"),
    folds("One fold", "1", r"prepare\.folds: Input should be greater than or equal to 2 \(it is 1\)"),
    param(
        "More inner folds than rows",
        "  inner_folds: 3\n\nnaive_bayes",
        "  inner_folds: 300\n\nnaive_bayes",
        r"inner_folds: 300 is too many; the commoner label has \d+ tweets",
        BAYES,
    ),
    Case("A path that is not there", replaced(PARAMS, SOURCE, "source: data/smaple"), f"data/smaple{NO_SOURCE}"),
    Case("A path with NUL", replaced(PARAMS, SOURCE, 'source: "data/sam\\0ple"'), f".*{NO_SOURCE}"),
    labels("One label's name for both", "[disaster, disaster]", r"data\.labels: must be two different names, .*"),
    param(
        "A classifier to submit that is not there",
        "classifier: #",
        "classifier: best #",
        r"submission\.classifier: best did not score every test row; some did",
        "pipeline.compare.submission",
    ),
]
