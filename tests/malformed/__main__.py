"""Print a table of all cases and what the user is told.

run: python -m tests.malformed
"""

import os
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
            if case.unless_root and os.geteuid() == 0:
                continue
            folder = Path(scratch) / str(number)
            outcome = meet(case, template, folder)
            said = " / ".join(outcome.lines).replace(str(folder), "PROJECT").replace("|", "\\|")
            print(f"| {case.name} | `{case.command}` | {said} |", flush=True)


if __name__ == "__main__":
    main()
