"""Whether a file is one that Kaggle accepts and that says what was meant: checked before it counts as one of today's."""

import math
import re
from collections.abc import Sequence

from pipeline.contracts import InputError

HEADER = "id,target"
ROW = r"(0|-?[1-9]\d{0,17}),([01])"
TEST_ROWS = 3263
MAX_STANDARD_ERRORS = 5.0
"""Between the shares of positives of the test tweets and of the out-of-fold decisions.

Of the 20 classifiers of a run on the competition's tweets that scored all of them, 18 are within 1.7; one beyond 5 had a
threshold that did not suit the model that scored the test tweets."""


def check_file(content: bytes, ids: Sequence[int], where: str = "submission.csv") -> list[int]:
    """The targets in the file; `InputError` unless it is `id,target` and a row of integers for each id, in their order."""
    if content.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{where}: begins with a byte-order mark; save it as plain ASCII or UTF-8 without one")
    try:
        lines = content.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        raise InputError(f"{where}: line {number}: byte 0x{content[error.start]:02x} is not ASCII") from None
    if "\r" in lines[0]:
        raise InputError(f"{where}: line 1: ends like a line of Windows; write line breaks as \\n alone")
    if lines[0] != HEADER:
        raise InputError(f"{where}: line 1: the header is {lines[0]!r:.60}, not {HEADER}")
    if lines.pop() != "":
        raise InputError(f"{where}: must end with a line break")
    found = []
    for number, line in enumerate(lines[1:], start=2):
        if not (row := re.fullmatch(ROW, line)):
            raise InputError(f"{where}: line {number}: {line!r:.60} is not an integer id and a 0 or 1")
        found.append((int(row[1]), int(row[2])))
    if len(found) != len(ids):
        raise InputError(f"{where}: {len(found):,} rows, but there are {len(ids):,} test tweets")
    for number, ((one, _), expected) in enumerate(zip(found, ids, strict=True), start=2):
        if one != expected:
            known = "is out of order" if one in ids else "is no test tweet's"
            fault = "is there twice" if one in ids[: number - 2] else known
            raise InputError(f"{where}: line {number}: id {one} {fault}; {expected} belongs here")
    return [target for _, target in found]


def check_share(targets: Sequence[int], expected: float, expected_rows: int, labels: float) -> None:
    """`InputError` if all decisions are alike, or if many more or fewer are positive than of the out-of-fold decisions.

    These, and not the share among the training `labels`, are what to expect: a classifier that is unsure calls few tweets
    disasters, in training and test alike.
    """
    if len(set(targets)) == 1:
        raise InputError(f"submission.csv: every target is {targets[0]}; --anyway sends it all the same")
    rows, share = len(targets), sum(targets) / len(targets)
    pooled = (share * rows + expected * expected_rows) / (rows + expected_rows)
    apart = abs(share - expected) / math.sqrt(pooled * (1 - pooled) * (1 / rows + 1 / expected_rows))
    if apart > MAX_STANDARD_ERRORS:
        raise InputError(
            f"submission.csv: {share:.1%} of the targets are 1, but {expected:.1%} of the out-of-fold decisions were and "
            f"{labels:.1%} of the training labels are: {apart:.0f} standard errors apart; --anyway sends it all the same"
        )
