"""Is a tweet about a real disaster? Generative and discriminative classifiers on the same rows."""

import sys

if sys.argv[:1] == ["-m"]:  # `python -m` is loading a stage: its libraries may be missing, or too large for the machine
    from pipeline.contracts.errors import show

    sys.excepthook = show
