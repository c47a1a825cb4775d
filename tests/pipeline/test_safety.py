"""What SECURITY.md says: nothing read is run, nothing is written outside, nothing secret is shown."""

import ast
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT, Command, one_line_error, set_param
from fake_endpoint import KEY, serving

from pipeline.contracts import InputError, Params, plain_name, read_params, read_yaml, redacted, stays
from pipeline.data.source import DataParams, read_source
from pipeline.packaged import locate
from pipeline.prompting.params import PromptParams

SOURCES = [*sorted((ROOT / "pipeline").rglob("*.py")), *sorted((ROOT / "benchmarks").glob("*.py"))]

# --- nothing that is read is run --------------------------------------------------------------------------------------

UNPICKLING = {"pickle", "cPickle", "_pickle", "joblib", "dill", "cloudpickle", "marshal", "shelve", "yaml"}
RUNNING = {"eval", "exec", "compile", "__import__"}
SHELLS = {"system", "popen", "getoutput", "getstatusoutput", "create_subprocess_shell", "read_pickle"}
LOADING_MODELS = {"from_pretrained", "SentenceTransformer", "pipeline"}
LOADS_ADAPTERS = {"PeftModel"}
"""Of these `from_pretrained` knows no code to trust."""
HIDDEN = {"torch.load", "numpy.load", "skops.io.load"}
SAFELY = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False), "np.save": ("allow_pickle", False)}


def called(call: ast.Call) -> str:
    return ast.unparse(call.func)


def keyword(call: ast.Call, name: str) -> object:
    """What a call says of a keyword, if it says so as a constant."""
    values = [one.value.value for one in call.keywords if one.arg == name and isinstance(one.value, ast.Constant)]
    return values[0] if values else None


def faults(source: str) -> list[str]:
    """What a module does that would trust what it reads."""
    tree, found = ast.parse(source), []
    handed_on = {  # f(**how), where how is a dict that says so
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and "'trust_remote_code': False" in ast.unparse(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            found += [f"imports {name}" for name in names if name.split(".")[0] in UNPICKLING]
            if isinstance(node, ast.ImportFrom):
                found += [
                    f"imports {node.module}.{one.name}" for one in node.names if f"{node.module}.{one.name}" in HIDDEN
                ]
                found += [f"imports {one.name}" for one in node.names if one.name in SHELLS | RUNNING]
        if not isinstance(node, ast.Call):
            continue
        name = called(node)
        last = name.rpartition(".")[2]
        if name.removeprefix("builtins.") in RUNNING or last in SHELLS or (last == "eval" and node.args):
            found.append(f"calls {name}")
        if keyword(node, "trusted") is True:
            found.append(f"{name} trusts whatever types there are")
        first = node.args[0] if node.args else None
        if isinstance(first, ast.List) and {"'sh'", "'bash'"} & set(map(ast.unparse, first.elts)):
            found.append(f"{name}: a shell")
        if last == "YAML" and keyword(node, "typ") not in {None, "safe"}:
            found.append("YAML that may hold objects")
        if any(one.arg == "shell" for one in node.keywords) or last in {"extractall", "extract", "unpack_archive"}:
            found.append(f"{name}: a shell, or an archive that says where its files go")
        if name in SAFELY and keyword(node, SAFELY[name][0]) is not SAFELY[name][1]:
            found.append(f"{name} without {SAFELY[name][0]}={SAFELY[name][1]}")
        trusts = [one for one in node.keywords if one.arg == "trust_remote_code"]
        if trusts and keyword(node, "trust_remote_code") is not False:
            found.append(f"{name} trusts code")
        given = {ast.unparse(one.value) for one in node.keywords if one.arg is None}
        loads = last in LOADING_MODELS and name.split(".")[0] not in LOADS_ADAPTERS and name != "pipeline"
        if loads and keyword(node, "trust_remote_code") is not False and not given & handed_on:
            found.append(f"{name} does not say that it trusts no code")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_module_trusts_what_it_reads(path: Path) -> None:
    assert not faults(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "bad",
    [
        "import joblib", "import yaml", "YAML(typ='unsafe')", "from pickle import loads", "x = eval(text)",
        "subprocess.run(command, shell=True)", "archive.extractall(folder)", "torch.load(path)",
        "torch.load(path, weights_only=False)", "np.load(path, allow_pickle=True)", "AutoModel.from_pretrained(path)",
        "AutoModel.from_pretrained(path, trust_remote_code=True)",
        "AutoModel.from_pretrained(path, trust_remote_code=chosen)", "SentenceTransformer(path)",
        "transformers.pipeline('text-classification', model=path)", "pd.read_pickle(path)", "subprocess.getoutput(text)",
        "asyncio.create_subprocess_shell(text)", "subprocess.run(['sh', '-c', text])", "from os import system",
        "from torch import load", "builtins.eval(text)", "frame.eval(text)", "skops.io.load(path, trusted=True)",
    ],
)  # fmt: skip
def test_the_search_for_trust_finds_it(bad: str) -> None:
    assert faults(bad)


BAD_CODE = """
from pathlib import Path
Path({mark!r}).write_text("the model's own code was run")
from transformers import BertConfig, BertModel, BertForSequenceClassification
class Own(BertConfig):
    model_type = "own"
class Encoder(BertModel):
    config_class = Own
class Classifier(BertForSequenceClassification):
    config_class = Own
"""


@pytest.fixture
def with_code(tmp_path: Path) -> tuple[Path, Path]:
    """A folder with a model that brings its own code, and the file that this would write."""
    folder, mark = tmp_path / "model", tmp_path / "was run"
    folder.mkdir()
    (folder / "own.py").write_text(BAD_CODE.format(mark=str(mark)))
    classes = {
        "AutoConfig": "own.Own",
        "AutoModel": "own.Encoder",
        "AutoModelForSequenceClassification": "own.Classifier",
    }
    (folder / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": classes}))
    (folder / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": "own.Encoder"}]))
    return folder, mark


def test_a_models_own_code_is_not_run(with_code: tuple[Path, Path]) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("sentence_transformers")
    from pipeline.data.embed import EmbedParams, embed
    from pipeline.finetune import encoder

    folder, mark = with_code
    with pytest.raises(InputError, match="brings code of its own, which is never run"):
        encoder.load(str(folder))
    with pytest.raises(InputError, match="brings code of its own, which is never run"):
        embed(["a"], EmbedParams(base_model=str(folder), batch_size=1, device="cpu"))
    assert not mark.exists()


def test_pickled_weights_are_not_read(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    import tiny_encoder

    from pipeline.finetune import encoder
    from pipeline.finetune.params import LoraParams

    folder = tmp_path / "model"
    tiny_encoder.make_tiny("bert", folder, read_params("lora.minilm", LoraParams, ROOT / "params.yaml"))
    encoder.load(str(folder))
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match="no weights as safetensors"):
        encoder.load(str(folder))


# --- nothing is written or read outside -------------------------------------------------------------------------------


def test_relative_paths_stay_in_the_project() -> None:
    for path in ("data/sample", "data/../data", "/somewhere/else", "org/model", "package:a/b", "a..b", "..."):
        assert stays(path) == path
    for path in ("..", "../other", "data/../../other", "./../other"):
        with pytest.raises(ValueError, match="give an absolute path"):
            stays(path)
    for path in ("package:pandas/../x", "package:pandas//etc/hosts"):
        with pytest.raises(InputError, match="leads out of the package"):
            locate(path)


@pytest.mark.parametrize("param", ["data.source", "embed.minilm.base_model", "lora.minilm.base_model", "prompt.model"])
def test_a_path_of_params_that_leads_out_is_refused(project: Path, param: str) -> None:
    from pipeline.data.embed import EmbedParams

    sections: dict[str, type[Params]] = {"data": DataParams, "embed.minilm": EmbedParams, "prompt": PromptParams}
    if param.startswith("lora"):
        pytest.importorskip("torch")
        from pipeline.finetune.params import LoraParams

        sections["lora.minilm"] = LoraParams
    section, _, _ = param.rpartition(".")
    set_param(project, param, "../elsewhere")
    with pytest.raises(
        InputError, match=rf"{param}: Value error, leads out of the project; give an absolute.*elsewhere"
    ):
        read_params(section, sections[section], project / "params.yaml")
    set_param(project, param, "/somewhere/else")
    read_params(section, sections[section], project / "params.yaml")


def test_names_are_no_commands_and_no_paths() -> None:
    assert plain_name("few_shot-2") == "few_shot-2"
    for name in ("minilm; rm -rf x", "../minilm", "a b", "$(id)", "", "a\n", "ünicode"):
        with pytest.raises(InputError, match="names are made of letters"):
            plain_name(name)


@pytest.mark.parametrize("folder", [ROOT, ROOT / "study"], ids=["main", "study"])
def test_what_reaches_a_shell_is_a_plain_name(folder: Path) -> None:
    """DVC puts what params list into commands before any stage could refuse it: params.yaml is trusted, and kept plain."""
    params, stages = read_yaml(folder / "params.yaml"), read_yaml(folder / "dvc.yaml")["stages"]
    lists = set(re.findall(r"\$\{([a-z_.]+)\}", " ".join(
        str(part) for stage in stages.values() for part in (stage.get("foreach"), *stage.get("matrix", {}).values()) if part
    )))  # fmt: skip
    assert {"classifiers.counts", "classifiers.lora", "classifiers.prompts", "classifiers.vectors"} <= lists
    for name in lists:
        section, key = name.split(".")
        assert [plain_name(item) for item in params[section][key]] == params[section][key]
    commands = [str(stage.get("do", stage)["cmd"]) for stage in stages.values()]
    filled_in = {found for cmd in commands for found in re.findall(r"\$\{([^}]+)\}", cmd)}
    assert filled_in <= {"stage", "item", "item.family", "item.encoder", "lora.launch"}


def test_a_zip_cannot_write_anywhere(tmp_path: Path, data_params: DataParams) -> None:
    """Two members are read by their names; nothing is unpacked, whatever an archive calls its files."""
    evil = zipfile.ZipInfo("link")
    evil.external_attr = 0o120777 << 16  # a symbolic link
    path = tmp_path / "tweets" / "data.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("../train.csv", "/tmp/test.csv", "../../test.csv"):
            archive.writestr(name, "id,keyword,location,text,target\n1,,,a,1\n")
        archive.writestr(evil, "/etc")
    with pytest.raises(InputError, match=r"train\.csv: no such file"):
        read_source(data_params.model_copy(update={"source": str(path)}))
    with zipfile.ZipFile(path, "a") as archive:
        for name in ("train.csv", "test.csv"):
            archive.write(ROOT / "data/sample" / name, name)
    found = read_source(data_params.model_copy(update={"source": str(path)}))
    assert [frame["id"].tolist() for frame in found] == [frame["id"].tolist() for frame in read_source(data_params)]
    assert [one.relative_to(tmp_path).as_posix() for one in sorted(tmp_path.rglob("*"))] == [
        "tweets",
        "tweets/data.zip",
    ]


# --- nothing secret is shown ------------------------------------------------------------------------------------------

CANARY = "sk-canary-0d1f7e"


def test_secrets_are_taken_out_of_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_KEY", CANARY)
    monkeypatch.setenv("SHORT_KEY", "a")
    assert redacted(f"a key {CANARY} was refused") == "a key *** was refused"
    assert redacted(f"https://user:{CANARY}@host/v1 and https://me@host") == "https://***@host/v1 and https://***@host"
    assert redacted("https://host/v1?key=abc, 'https://host?x' a@b") == "https://host/v1?*** 'https://host?***' a@b"
    assert redacted("https://host:80/v1 a? b") == "https://host:80/v1 a? b"
    monkeypatch.setenv("LONG_TOKEN", f"{CANARY}-and-more")
    monkeypatch.setenv("DB_PASSWD", "line one\nline two")
    assert redacted(f"{CANARY}-and-more, {CANARY}") == "***, ***"
    assert redacted(repr(KeyError("line one\nline two"))) == "KeyError('***')"


def test_a_traceback_shows_no_secret() -> None:
    code = "import os; from pipeline.process import run; run(lambda: {}[os.environ['MY_TOKEN']])"
    environment = os.environ | {"MY_TOKEN": CANARY}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "KeyError: '***'" in done.stderr
    assert CANARY not in done.stderr


@pytest.mark.parametrize(
    "base_url",
    [
        f"https://user:{CANARY}@host/v1",
        f"https://user:a/{CANARY}@host/v1",
        f"https://{'u' * 80}:{CANARY}@host/v1",
        f"https://host/v1?key={CANARY}",
    ],
)
def test_an_address_with_a_secret_is_refused_and_not_repeated(project: Path, base_url: str) -> None:
    set_param(project, "prompt.base_url", base_url)
    with pytest.raises(InputError, match=r"prompt.base_url: .*must be http.*\*\*\*") as caught:
        read_params("prompt", PromptParams, project / "params.yaml")
    assert CANARY not in str(caught.value)


def spoken(body: dict[str, object], number: int) -> tuple[int, object]:
    """An endpoint that repeats the key that it was sent in all that it says, and fails in one way after the other."""
    message = {"error": {"message": f"your key {KEY} is no good", "code": KEY}}
    return [(400, message), (500, message), (200, f"not json {KEY}".encode()), (429, message), (200, None)][number % 5]


def test_a_key_is_nowhere_after_a_run_whatever_goes_wrong(project: Path, here: Command, tmp_path: Path) -> None:
    """Not in logs, transcripts, the answer store, costs; with one that works see test_the_key_is_nowhere."""
    assert here("pipeline.data.prepare").returncode == 0
    set_param(project, "prompt.train_rows", 10)
    set_param(project, "prompt.retries", 0)
    said = ""
    with serving(spoken) as server:
        set_param(project, "prompt.base_url", server.url)
        for _ in range(3):  # the endpoint counts on, and fails in other ways
            done = here("pipeline.prompting.prompt", "zero_shot", OPENAI_API_KEY=KEY)
            one_line_error(done)
            said += done.stdout + done.stderr
    assert KEY not in said
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert "answers.sqlite" in {path.name for path in written}
    assert not [path for path in written if KEY.encode() in path.read_bytes()]


def test_a_key_does_not_get_into_a_commit(project: Path) -> None:
    """By the hook of .pre-commit-config.yaml."""
    hooks = read_yaml(ROOT / ".pre-commit-config.yaml")["repos"][0]["hooks"]
    entry = next(hook["entry"] for hook in hooks if hook["id"] == "keys").split()
    hook = Path(sys.executable).parent / Path(entry[0]).name
    if not hook.is_file():
        pytest.skip("detect-secrets is not installed")

    def check(name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([hook, *entry[1:], name], cwd=project, capture_output=True, text=True, check=False)

    assert check("params.yaml").returncode == 0
    (project / "notes.py").write_text('KEY = "' + "AKIA" + 'QYLPMN5HFJ3ABCDE"\n')
    done = check("notes.py")
    assert done.returncode == 1
    assert "notes.py:1" in done.stdout
    set_param(project, "prompt.api_key_env", "sk-" + "Zw3Kq8Pn5Vx2Rt7Ys4")
    assert check("params.yaml").returncode == 1
