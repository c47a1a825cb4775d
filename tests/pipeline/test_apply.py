"""params.yaml and study/params.yaml change by the lines that are meant, whether DVC changes them or `apply` does."""

import difflib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, python
from ruamel.yaml import YAML

from pipeline.apply import NOT_BY_FILE, class_of, main, value_of, wanted_by
from pipeline.compare.taking_part import ClassifiersParams
from pipeline.contracts import InputError, Params, read_yaml
from pipeline.report.provenance import flat

FILES = ("params.yaml", "study/params.yaml")
PARAMS: dict[str, Any] = read_yaml(ROOT / "params.yaml")
STUDY: dict[str, Any] = read_yaml(ROOT / "study/params.yaml")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder with both files, the prompts and the examples."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    for name in ("prompts", "examples", "data/spam"):
        shutil.copytree(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def apply(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command, and returns what it prints."""

    def call(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["apply", *arguments])
        main()
        return capsys.readouterr().out

    return call


def set_by_dvc(*changes: str) -> None:
    """What `dvc exp run -S` does to a file before it runs anything."""
    from dvc.utils.hydra import apply_overrides

    for change in changes:
        study = change.startswith("study.")
        apply_overrides(FILES[study], [change.removeprefix("study.")])


def text_of() -> list[str]:
    return [line for name in FILES for line in Path(name).read_text(encoding="utf-8").splitlines()]


def changed_since(before: list[str]) -> list[str]:
    """The lines that went and came, without their blanks and comments."""
    lines = [line for line in difflib.ndiff(before, text_of()) if line[:2] in ("- ", "+ ")]
    return [line[0] + line[2:].partition(" #")[0].strip() for line in lines]


CHANGES = {
    "report.title=x": ["-title: Disaster tweets, generative against discriminative", "+title: x"],
    "classifiers.lora=[minilm,mpnet]": ["+- mpnet"],
    "classifiers.imported=[gpt]": ["-imported: []", "+imported:", "+- gpt"],
    "naive_bayes.alpha=[1.0]": ["-- 0.5", "-- 2.0"],
    "lora.mpnet.learning_rate=1e-4": ["-learning_rate: 0.0002", "+learning_rate: 0.0001"],
    "lora.minilm.layers=null": ["-layers: 3", "+layers:"],
    "data.columns.group=author": ["-group:", "+group: author"],
    "prompt.base_url=http://localhost:8080/v1": ["-base_url:", "+base_url: http://localhost:8080/v1"],
    "explanations.prompts=false": ["-prompts: true", "+prompts: false"],
    "study.robustness.rates=[0.1,0.5]": ["-- 0.05", "-- 0.2", "-- 0.3", "+- 0.5"],
    "study.class_lm.discriminative.rank=8": ["-rank: 16", "+rank: 8"],
}


@pytest.mark.parametrize("first", ["dvc", "apply"])
def test_a_change_is_the_lines_that_were_meant(first: str, apply: Any) -> None:
    """Whichever of the two made another change before."""
    earlier = ("prepare.folds=4", "blend.margin=0.5", "classifiers.prompts=[zero_shot]", "study.cascade.gain=0.25")
    set_by_dvc(*earlier) if first == "dvc" else apply(*earlier)
    for change, lines in CHANGES.items():
        before = text_of()
        apply(change) if first == "dvc" else set_by_dvc(change)
        assert sorted(changed_since(before)) == sorted(lines)
        comments = [[line.partition("# ")[2] for line in text if "# " in line] for text in (before, text_of())]
        assert comments[0] == comments[1]


def test_a_list_can_be_emptied(apply: Any) -> None:
    """One that ends a section, too, where the line's end belongs to what follows."""
    lists = [f"classifiers.{kind}" for kind in PARAMS["classifiers"]]
    for name in [*lists, "study.classifiers.encoders", "study.learning_curve.classifiers"]:
        apply(f"{name}=[]")
        found: Any = {"study": read_yaml(Path(FILES[1]))} | read_yaml(Path(FILES[0]))
        for part in name.split("."):
            found = found[part]
        assert found == []


@pytest.mark.parametrize("name", FILES)
def test_the_file_stands_in_the_form_that_dvc_writes(name: str) -> None:
    """So it has no anchors: DVC would copy them out, and a change of the first would not reach the others any more."""
    from dvc.utils.hydra import apply_overrides

    written = Path(name).read_text(encoding="utf-8")
    apply_overrides(name, [])
    assert Path(name).read_text(encoding="utf-8") == written
    assert not [token for token in YAML().scan(written) if type(token).__name__ in ("AnchorToken", "AliasToken")]


def test_the_example_names_what_it_changes_and_nothing_else(apply: Any) -> None:
    """Each of its values differs from the default, and stands in the files afterwards."""
    example = read_yaml(ROOT / "examples/spam.yaml")
    before = PARAMS | {"study": STUDY}
    assert len(apply("examples/spam.yaml").splitlines()) == len(flat(example))
    after = {"study": read_yaml(Path(FILES[1]))} | read_yaml(Path(FILES[0]))
    assert {name: value for name, value in flat(after) if value != dict(flat(before))[name]} == dict(flat(example))
    assert apply("examples/spam.yaml") == "it is so already\n"


# --- what may be given ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5), ("1e-3", 0.001), ("true", True), ("null", None), ("", None), ("~", None), ("no", "no"),
        ("[minilm, 2, null]", ["minilm", 2, None]), ("[[a, b]]", [["a", "b"]]), ("[]", []), ('"5"', "5"), ("{a: 1}", {"a": 1}),
        ("data/ä b[1].zip", "data/ä b[1].zip"), ("http://[::1]:8080/v1", "http://[::1]:8080/v1"), ("~x", "~x"),
        ("Spam: or ham", "Spam: or ham"), ("We are #1", "We are #1"), ("2026-01-01", "2026-01-01"), ("*a", "*a"), ("[a", "[a"),
        ("- a", "- a"), ("a=b", "a=b"), ("@x", "@x"),
    ],
)  # fmt: skip
def test_a_value_is_what_it_looks_like(text: str, value: object) -> None:
    assert value_of(text) == value
    assert wanted_by(f"a.b-c.d={text}") == {"a": {"b-c": {"d": value}}}


def test_arguments_go_together_and_the_last_one_wins(
    apply: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Paths and addresses of any kind arrive; DVC's own `-S` takes none of these."""
    monkeypatch.setenv("HOME", str(tmp_path))
    source = tmp_path / "tweets/ä [1] ~"
    source.mkdir(parents=True)
    own = ("data.source=~/tweets/ä [1] ~", "prompt.base_url=http://[::1]:8080/v1", "prompt.model=~/größer (2).gguf")
    apply("report.title=one", "prompt.retries=7", "examples/spam.yaml", "data.labels=[a, b]", *own)
    params = read_yaml(Path("params.yaml"))
    assert params["data"]["source"] == str(source)
    assert params["prompt"]["base_url"] == "http://[::1]:8080/v1"
    assert params["prompt"]["model"] == f"{tmp_path}/größer (2).gguf"
    assert (params["prompt"]["retries"], params["data"]["labels"]) == (7, ["a", "b"])
    assert params["report"]["title"].startswith("Spam")


def test_a_name_that_is_not_there_has_a_default_and_can_be_given(apply: Any) -> None:
    """It is put before the last one, so that what is between two sections stays there."""
    before = text_of()
    said = apply(
        "lora.mpnet.rank=4", "logistic.C=[0.5]", "prompt.limits.tokens=1000", "study.learning_curve.sizes=[16, null]"
    )
    assert "lora.mpnet.rank: its default → 4" in said
    gone = [f"-- {one}" for one in ("0.05", "0.1", "0.2", "1.0")]
    assert sorted(changed_since(before)) == sorted([*gone, "+rank: 4", "+tokens: 1000", "+sizes:", "+- 16", "+-"])


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("prepare.near_duplicat=1", "prepare.near_duplicat: unknown; did you mean near_duplicate? known here: "),
        ("data.columns.keywrd=x", "data.columns.keywrd: unknown; did you mean keyword? known here: group, "),
        ("lora.minilmm.rank=3", "lora.minilmm: unknown; did you mean minilm? known here: launch, "),
        ("vectors.vae.laten=3", "vectors.vae.laten: unknown; did you mean latent? known here: "),
        ("learning_curve.seeds=3", "learning_curve: unknown; did you mean study.learning_curve?"),
        ("classifiers.lora=[minilmm]", "classifiers.lora: minilmm: unknown; did you mean minilm?"),
        ("classifiers.encoders=[bert]", "classifiers.encoders: bert: unknown; known here: minilm, mpnet"),
        ("classifiers.prompts=[zero_shoot]", "classifiers.prompts: zero_shoot: unknown; did you mean zero_shot?"),
        ("study.classifiers.class_lm=[generativ]", "class_lm: generativ: unknown; did you mean generative?"),
        ("study.learning_curve.classifiers=[bayes]", "learning_curve.classifiers: bayes: unknown; did you mean "),
        ("data=data/kaggle", "data is a section, with names and values"),
        ("prepare.folds=five", "prepare.folds: Input should be a valid integer (it is 'five')"),
        ("prompt.base_url=localhost", "prompt.base_url: "),
        ("data.source=data/kaggle", "run `python -m pipeline.kaggle.download`"),
        ("data.source=data/kagle", "data.source: data/kagle: no such file or folder"),
        ("nowhere.yaml", "nowhere.yaml: no such file"),
    ],
)
def test_what_is_wrong_is_one_line_and_changes_nothing(argument: str, message: str, apply: Any) -> None:
    before = text_of()
    with pytest.raises(InputError) as caught:
        apply("report.title=x", argument)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert text_of() == before


@pytest.mark.parametrize("content", ["", "- a", "data", "data: x"])
def test_a_file_without_sections_is_refused(content: str, apply: Any) -> None:
    Path("it.yaml").write_text(content)
    with pytest.raises(InputError, match=r"it must be sections, with names|data is a section"):
        apply("it.yaml")


# --- somebody else's file runs nothing ------------------------------------------------------------------------------------


def commands() -> Iterator[str]:
    """The names of lists that dvc.yaml puts into commands."""
    for prefix, file in (("", "dvc.yaml"), ("study.", "study/dvc.yaml")):
        for stage in read_yaml(ROOT / file)["stages"].values():
            for each in (stage.get("foreach"), *stage.get("matrix", {}).values()):
                yield from [prefix + each.strip("${}")] if each else []


@pytest.mark.parametrize("name", sorted(set(commands())))
def test_no_list_that_becomes_commands_takes_more_than_names(name: str, apply: Any) -> None:
    before = text_of()
    with pytest.raises(InputError, match=rf"{name}\.0: String should match pattern"):
        apply(f"{name}=['minilm; touch pwned']")
    assert text_of() == before


@pytest.mark.parametrize("name", NOT_BY_FILE)
def test_no_file_says_what_is_run_where_keys_are_sent_and_what_is_paid(name: str, apply: Any) -> None:
    section, _, key = name.partition(".")
    Path("it.yaml").write_text(f"{section}:\n  {key}: http://elsewhere/touch\n")
    with pytest.raises(InputError, match=rf"it\.yaml: {name}: .*, so no file may set it"):
        apply("it.yaml")


def test_what_is_meant_can_be_set_on_a_terminal_of_any_encoding(tmp_path: Path) -> None:
    done = python("-m", "pipeline.apply", "lora.launch=accelerate launch --multi_gpu", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert r"\u2192 accelerate launch --multi_gpu" in done.stdout
    assert read_yaml(Path("params.yaml"))["lora"]["launch"] == "accelerate launch --multi_gpu"


def sections() -> dict[tuple[str, ...], tuple[type[Params], dict[str, Any]]]:
    """By its names, the class and the values of each section of both files that is read by itself."""
    found = {}
    for where, params in (((), PARAMS), (("study",), STUDY)):
        for name, values in params.items():
            entries = [(name, entry) for entry, one in values.items() if isinstance(one, dict)]
            for names in [(name,), *entries]:
                if model := class_of((*where, *names)):
                    found[*where, *names] = (model, values if len(names) == 1 else values[names[1]])
    return found


PRESETS = {"mpnet", "smollm2", "discriminative"}


@pytest.mark.parametrize("names", sections(), ids=".".join)
def test_what_the_files_show_are_the_defaults_and_a_preset_names_what_differs(names: tuple[str, ...]) -> None:
    model, values = sections()[names]
    if model is ClassifiersParams:
        return  # a choice without a default
    required = {name: values[name] for name, field in model.model_fields.items() if field.is_required()}
    read, bare = (model.model_validate(one) for one in (values, required))
    differing = {name for name in values if getattr(read, name) != getattr(bare, name)}
    assert differing == (set(values) if names[-1] in PRESETS else set())


def test_every_section_has_a_class() -> None:
    """A name that it does not know is refused where it is given, not when its stage runs."""
    assert {names[names[0] == "study"] for names in sections()} == {*PARAMS, *STUDY}
