"""A file of changed params changes these in params.yaml, and no other character."""

from pathlib import Path

import pytest
from conftest import ROOT
from ruamel.yaml import YAML

from pipeline.apply import apply, main
from pipeline.contracts import InputError
from pipeline.page.provenance import flat

TEXT = """\
# The params.
data: # where from
  source: data/sample # a folder
  labels: [no, "yes"] # two
small: &small
  rows: 10
  name: &name tiny # shared
large:
  <<: *small
  name: *name
pairs: # in lines
  - [a, b]
  - [c, d]
  # and no more
seed: 0
"""


def test_only_the_values_change() -> None:
    wanted = {"data": {"source": "data/spam", "labels": ["ham, cooked", "spam"]}, "pairs": [["x", "y"]], "seed": None}
    text, told = apply(TEXT, wanted, "it.yaml")
    expected = TEXT.replace("data/sample", "data/spam").replace("seed: 0", "seed: null")
    expected = expected.replace('[no, "yes"]', "['ham, cooked', spam]").replace("- [a, b]\n  - [c, d]", "[[x, y]]")
    assert text == expected
    assert told[0] == "data.source: data/sample → data/spam"
    assert len(told) == 4
    assert apply(text, wanted, "it.yaml") == (text, [])


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"data": {"sauce": "x"}}, r"it\.yaml: data\.sauce: unknown; known here: source, labels"),
        ({"date": {}}, r"it\.yaml: date: unknown; known here: data, small, large, pairs, seed"),
        ({"data": "data/spam"}, r"it\.yaml: data must be a section"),
        (["data"], r"it\.yaml: it must be a section"),
        ({"large": {"rows": 3}}, r"large\.rows: other values hang together with it; change it in params\.yaml itself"),
        ({"large": {"name": "x"}}, r"large\.name: other values hang together with it"),
        ({"small": {"rows": 3}}, r"small\.rows: other values hang together with it"),
    ],
)
def test_what_cannot_be_changed_is_refused(wanted: object, message: str) -> None:
    """Among it whatever would change elsewhere too: a section that another takes over, an alias."""
    with pytest.raises(InputError, match=message):
        apply(TEXT, wanted, "it.yaml")


def test_an_anchor_that_would_be_lost_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(TEXT)
    Path("it.yaml").write_text("small: {name: big}\n")
    monkeypatch.setattr("sys.argv", ["apply", "it.yaml"])
    with pytest.raises(
        InputError, match=r"it\.yaml: params\.yaml would not be YAML any more: found undefined alias"
    ) as e:
        main()
    assert "\n" not in str(e.value)
    assert Path("params.yaml").read_text() == TEXT


def test_the_example_names_what_it_changes_and_nothing_else() -> None:
    """Each of its values differs from the default, and stands in params.yaml afterwards."""
    before, example = ((ROOT / name).read_text() for name in ("params.yaml", "examples/spam.yaml"))
    wanted = YAML(typ="safe").load(example)
    text, told = apply(before, wanted, "spam.yaml")
    assert len(told) == len(flat(wanted))
    assert set(wanted) == {"data", "prompt", "prompt_curve", "submission", "report"}
    after = YAML(typ="safe").load(text)
    assert after["data"] == wanted["data"]
    assert len(text.splitlines()) == len(before.splitlines())
