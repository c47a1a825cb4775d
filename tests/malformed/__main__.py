"""Print a table of all cases and what the user is told.

run: python -m tests.malformed
"""

import sys
import tempfile
from pathlib import Path

from . import CASES
from .project import make, meet


def main() -> None:
    print("| What is wrong | Command | Message |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        template = Path(scratch) / "whole"
        make(template)
        for number, case in enumerate(CASES):
            if sys.argv[1:] and sys.argv[1].lower() not in case.name.lower():
                continue
            folder = Path(scratch) / str(number)
            outcome = meet(case, template, folder)
            said = " / ".join(outcome.lines) or outcome.stderr.strip().splitlines()[-1:] or "nothing"
            print(f"| {case.name} | `{case.command}` | {str(said).replace('|', chr(92) + '|')} |", flush=True)


if __name__ == "__main__":
    main()
