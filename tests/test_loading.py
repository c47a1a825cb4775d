"""What is loaded without another library finds it absent, and nobody else does."""

import subprocess
import sys

import pytest
from conftest import ROOT

from pipeline.loading import as_if_absent

LOADS = """
import sys
import pipeline.verdict.evaluate
from pipeline.classifiers.model_files import loaded_skops
loaded_skops()
assert not {"torch", "transformers"} & {*sys.modules}, "seconds, in every stage"
import transformers
from sklearn.externals.array_api_compat import torch
"""


def test_a_module_is_absent_in_the_block_alone() -> None:
    sys.modules.pop("this", None)
    with pytest.raises(ModuleNotFoundError), as_if_absent("this"):
        import this  # noqa: F401
    with as_if_absent("json"):
        import json
    assert json.loads("1") == 1, "it was there already"
    with as_if_absent("a_module_that_is_nowhere"):
        pass
    assert "a_module_that_is_nowhere" not in sys.modules


def test_the_verdict_and_saved_models_need_no_torch() -> None:
    pytest.importorskip("torch")
    done = subprocess.run([sys.executable, "-c", LOADS], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
