"""What SECURITY.md says: nothing read is run, nothing is written outside, nothing secret is shown."""

import ast
import io
import json
import re
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny_gguf
import torch
from conftest import ROOT, Command, one_line_error, python, said, set_param
from fake_endpoint import KEY, serving
from nbformat import v4
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression
from tiny_encoder import make_tiny

from pipeline.apply import class_of
from pipeline.contracts import InputError, Prepared, plain_name, read_params, read_yaml, redacted, stays
from pipeline.data.embed import EmbedParams, embed
from pipeline.data.embeddings import embeddings_path, read_embeddings
from pipeline.data.source import DataParams, read_source
from pipeline.finetune.encoder import load as load_encoder
from pipeline.fit.model_files import read_estimator, read_tensors, write_estimator
from pipeline.new_texts.writing import decisions, lines_to, open_writer
from pipeline.notebooks.pages import page
from pipeline.packaged import locate
from pipeline.prompting.channel import load as load_decoder
from pipeline.prompting.params import EmbeddedParams, PromptParams
from pipeline.prompting.server import embedded

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


def keyword(call: ast.Call, name: str) -> object:
    """What a call says of a keyword, if it says so as a constant."""
    values = [one.value.value for one in call.keywords if one.arg == name and isinstance(one.value, ast.Constant)]
    return values[0] if values else None


def faults(source: str) -> Iterator[str]:
    """What a module does that would trust what it reads."""
    nodes = [*ast.walk(ast.parse(source))]
    handed_on = {  # f(**how), where how is a dict that says so
        ast.unparse(node.targets[0])
        for node in nodes
        if isinstance(node, ast.Assign) and "'trust_remote_code': False" in ast.unparse(node.value)
    }
    for node in nodes:
        match node:
            case ast.Import(names):
                yield from (f"imports {one.name}" for one in names if one.name.split(".")[0] in UNPICKLING)
            case ast.ImportFrom(module, names):
                full = [f"{module}.{one.name}" for one in names]
                yield from (f"imports {one}" for one in full if one.split(".")[0] in UNPICKLING or one in HIDDEN)
                yield from (f"imports {one.name}" for one in names if one.name in SHELLS | RUNNING)
            case ast.Call():
                yield from faults_of(node, handed_on)


def faults_of(call: ast.Call, handed_on: set[str]) -> Iterator[str]:
    name = ast.unparse(call.func)
    last = name.rpartition(".")[2]
    if name.removeprefix("builtins.") in RUNNING or last in SHELLS or (last == "eval" and call.args):
        yield f"calls {name}"
    if keyword(call, "trusted") is True:
        yield f"{name} trusts whatever types there are"
    if (
        call.args
        and isinstance(call.args[0], ast.List)
        and {"'sh'", "'bash'"} & set(map(ast.unparse, call.args[0].elts))
    ):
        yield f"{name}: a shell"
    if last == "YAML" and keyword(call, "typ") not in {None, "safe"}:
        yield "YAML that may hold objects"
    if any(one.arg == "shell" for one in call.keywords) or last in {"extractall", "extract", "unpack_archive"}:
        yield f"{name}: a shell, or an archive that says where its files go"
    if name in SAFELY and keyword(call, SAFELY[name][0]) is not SAFELY[name][1]:
        yield f"{name} without {SAFELY[name][0]}={SAFELY[name][1]}"
    says_no = keyword(call, "trust_remote_code") is False
    if any(one.arg == "trust_remote_code" for one in call.keywords) and not says_no:
        yield f"{name} trusts code"
    loads = last in LOADING_MODELS and name.split(".")[0] not in LOADS_ADAPTERS and name != "pipeline"
    if loads and not says_no and not {ast.unparse(one.value) for one in call.keywords if one.arg is None} & handed_on:
        yield f"{name} does not say that it trusts no code"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_module_trusts_what_it_reads(path: Path) -> None:
    assert not [*faults(path.read_text(encoding="utf-8"))]


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
    assert [*faults(bad)]


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


def test_a_models_own_code_is_not_run(tmp_path: Path) -> None:
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
    refused(folder, "brings code of its own, which is never run")
    assert not mark.exists()


# --- files of models that anybody made ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small encoder as transformers keeps it."""
    folder = tmp_path_factory.mktemp("encoder") / "model"
    make_tiny("bert", folder)
    return folder


@pytest.fixture
def encoder(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "model")


def refused(folder: Path, why: str, *, to_train: bool = True) -> None:
    """By all that load an encoder."""
    with pytest.raises(InputError, match=why):
        embed(["a"], EmbedParams(base_model=str(folder), device="cpu"))
    if to_train:
        with pytest.raises(InputError, match=why):
            load_encoder(str(folder))


def test_pickled_weights_are_not_read(encoder: Path) -> None:
    torch.save({}, encoder / "pytorch_model.bin")
    (encoder / "model.safetensors").unlink()
    refused(encoder, "no weights as safetensors")


@pytest.mark.parametrize("where", ["../weights.safetensors", "{absolute}"])
def test_a_model_names_no_weights_that_are_elsewhere(encoder: Path, where: str) -> None:
    outside = (encoder / "model.safetensors").rename(encoder.parent / "weights.safetensors")
    names = dict.fromkeys(load_file(outside), where.format(absolute=outside))
    (encoder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
    refused(encoder, "must name files of weights beside it")


DENSE = {"in_features": 32, "out_features": 4, "activation_function": "torch.hub.list"}


@pytest.mark.parametrize("kind", ["subprocess.Popen", "sentence_transformers.util.http_get", "{models}.Dense"])
def test_a_part_of_a_sentence_encoder_is_no_function(encoder: Path, kind: str) -> None:
    kinds = [one.format(models="sentence_transformers.models") for one in ("{models}.Transformer", kind)]
    parts = [{"idx": n, "name": f"{n}", "path": "1" * n, "type": one} for n, one in enumerate(kinds)]
    (encoder / "modules.json").write_text(json.dumps(parts))
    (encoder / "1").mkdir()
    (encoder / "1/config.json").write_text(json.dumps(DENSE))
    refused(encoder, "base_model .*: (it brings code of its own|cannot be loaded)", to_train=False)


def tensors(dtype: str = "F32", size: int = 32, length: int = 0, **parts: tuple[int, int, list[int]]) -> bytes:
    """A file of tensors that says where each begins and ends, and what shape it has."""
    said = {name: {"dtype": dtype, "shape": shape, "data_offsets": [a, b]} for name, (a, b, shape) in parts.items()}
    header = json.dumps({"__metadata__": {"prepared": "x"}} | said).encode()
    return struct.pack("<Q", length or len(header)) + header + bytes(size)


HEADERS = {
    "longer than the file": tensors(a=(0, 16, [4]), b=(16, 32, [4]), length=2**63 - 1),
    "overlapping": tensors(a=(0, 16, [4]), b=(0, 16, [4])),
    "a hole": tensors(a=(0, 8, [2]), b=(16, 32, [4])),
    "beyond the end": tensors(a=(0, 2**40, [4]), b=(16, 32, [4])),
    "no such shape": tensors(a=(0, 16, [2**62, 2**62]), b=(16, 32, [4])),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_made_up_header_of_tensors_is_refused(tmp_path: Path, case: str) -> None:
    (tmp_path / "x.safetensors").write_bytes(HEADERS[case])
    with pytest.raises(InputError, match="not a model's file: Error while deserializing"):
        read_tensors(tmp_path / "x.safetensors", {"a": torch.zeros(4), "b": torch.zeros(4)})


@pytest.mark.parametrize(("dtype", "size"), [("BF16", 2), ("F8_E4M3", 1), ("C64", 8)])
def test_embeddings_of_an_odd_type_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, size: int
) -> None:
    monkeypatch.chdir(tmp_path)
    embeddings_path("m").parent.mkdir(parents=True)
    both = {"train": (0, 2 * size, [1, 2]), "test": (2 * size, 4 * size, [1, 2])}
    embeddings_path("m").write_bytes(tensors(dtype, 4 * size, **both))
    tweets = pd.DataFrame({"id": [1]})
    with pytest.raises(InputError, match=r"m\.safetensors: not an embeddings file"):
        read_embeddings(Prepared(tweets, tweets, "x"), "m")


@pytest.mark.parametrize("part", ["schema.json", "an array", "nested"])
def test_a_saved_classifier_is_no_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    path, array = tmp_path / "x.skops", io.BytesIO()
    write_estimator(path, LogisticRegression().fit(np.eye(4), [0, 1, 0, 1]))
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    np.save(array, np.zeros(10**6))
    name = next(name for name in parts if name.endswith(".npy")) if part == "an array" else "schema.json"
    parts[name] = {"an array": array.getvalue(), "nested": b'{"a":' * 10**5}.get(part, b" " * 10**7 + parts[name])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    monkeypatch.setattr("pipeline.fit.model_files.LARGEST", 10**6)
    with pytest.raises(InputError, match=r"it would unpack to (8|10) MB|recursion depth"):
        read_estimator(path, LogisticRegression)


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def opens(path: Path) -> None:
    with embedded(str(path), EmbeddedParams(context=256)).connect():
        pass


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small language model."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    tiny_gguf.write(path, Path(locate(PromptParams.model_fields["model"].default)))
    return path.read_bytes()


COUNTS = {
    "metadata": (b"GGUF", 12, "<Q", 2**62),
    "tensors": (b"GGUF", 4, "<Q", 2**62),
    "tokens": (text("tokenizer.ggml.tokens"), 8, "<Q", 2**60),
    "dimensions": (text("token_embd.weight"), 0, "<I", 2**30),
    "heads": (text("gemma3.attention.head_count"), 4, "<I", 0),
}


@pytest.mark.parametrize("count", COUNTS)
def test_a_made_up_count_in_a_gguf_file_is_one_line(gguf: bytes, tmp_path: Path, count: str) -> None:
    mark, after, form, value = COUNTS[count]
    place, path = gguf.index(mark) + len(mark) + after, tmp_path / "x.gguf"
    path.write_bytes(gguf[:place] + struct.pack(form, value) + gguf[place + struct.calcsize(form) :])
    with pytest.raises(InputError, match=r"llama\.cpp cannot load it"):
        opens(path)
    with pytest.raises(InputError, match="transformers cannot load"):
        load_decoder(path)


TEMPLATES = ["{% include '/etc/passwd' %}", "{% import 'os' as os %}", "{{ x.__globals__.os.getcwd() }}", "{% for %}"]


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_chat_template_has_no_files_and_no_code(gguf: bytes, tmp_path: Path, template: str) -> None:
    """What would want them is refused as the model is loaded, by llama.cpp's own reader of templates."""
    place, path = gguf.index(b"tokenizer.chat_template") + 27, tmp_path / "x.gguf"
    (length,) = struct.unpack_from("<Q", gguf, place)
    same_alignment = template.ljust(len(template) + (length - len(template)) % 32)
    path.write_bytes(gguf[:place] + text(same_alignment) + gguf[place + 8 + length :])
    with pytest.raises(InputError, match=r"llama\.cpp cannot load it"):
        opens(path)


def test_no_kernel_from_a_hub_is_read() -> None:
    assert not re.search(r"^kernels==", (ROOT / "requirements/dev.txt").read_text(), re.MULTILINE)


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
    section, _, _ = param.rpartition(".")
    model = class_of(tuple(section.split(".")))
    set_param(project, param, "../elsewhere")
    with pytest.raises(InputError, match=rf"{param}: Value error, leads out of the project; give an abs.*elsewhere"):
        read_params(section, model, project / "params.yaml")
    set_param(project, param, "/somewhere/else")
    read_params(section, model, project / "params.yaml")


def test_names_are_no_commands_and_no_paths() -> None:
    assert plain_name("few_shot-2") == "few_shot-2"
    for name in ("minilm; rm -rf x", "../minilm", "a b", "$(id)", "", "a\n", "ünicode"):
        with pytest.raises(InputError, match="names are made of letters"):
            plain_name(name)


@pytest.mark.parametrize("folder", [ROOT, ROOT / "study"], ids=["main", "study"])
def test_what_reaches_a_shell_is_a_plain_name(folder: Path) -> None:
    """Of the lists that become commands see test_apply."""
    commands = [str(stage.get("do", stage)["cmd"]) for stage in read_yaml(folder / "dvc.yaml")["stages"].values()]
    filled_in = {found for cmd in commands for found in re.findall(r"\$\{([^}]+)\}", cmd)}
    assert filled_in <= {"stage", "item", "item.family", "item.encoder", "lora.launch"}


def test_a_label_that_is_a_formula_is_not_written() -> None:
    scored = decisions(pd.Series(["7"], name="id"), np.ones(1), 0.5, ["ham", "=HYPERLINK(1)"])
    with pytest.raises(InputError, match=r"column label: '=HYPERLINK\(1\)' would be a formula"):
        lines_to(io.StringIO(), "csv")(scored)


def test_what_goes_to_a_terminal_of_another_encoding_is_data_all_the_same() -> None:
    terminal = io.TextIOWrapper(io.BytesIO(), "ascii", errors="backslashreplace")
    with open_writer(None, "jsonl", terminal) as write:
        write(decisions(pd.Series(["ä"], name="id"), np.ones(1), 0.5, ["no", "größer"]))
    assert json.loads(terminal.buffer.getvalue())["label"] == "größer"


def test_a_page_of_a_notebook_runs_nothing() -> None:
    planted = "</pre></td><script>alert(1)</script><img src=x onerror=alert(2)>"
    frame = pd.DataFrame({planted: [planted]}, index=pd.Index([planted], name=planted))
    shown = v4.new_output("display_data", {"text/html": frame.to_html(), "text/plain": planted})
    printed = v4.new_output("stream", text=f"{planted}\x1b[31m{planted}\x1b[0m")
    html = page(v4.new_notebook(cells=[v4.new_code_cell("x", outputs=[shown, printed])]), planted)
    assert "alert(2)&gt;" in html
    assert not re.search(r"<script>alert|<img src=x", html)
    assert "Content-Security-Policy" in html
    assert "default-src 'none'" in html
    assert "script-src" not in html


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
    assert [*tmp_path.rglob("*.*")] == [path]


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
    done = python("-c", code, MY_TOKEN=CANARY)
    assert done.returncode == 1
    assert "KeyError: '***'" in done.stderr
    assert CANARY not in done.stderr


@pytest.mark.parametrize(
    "base_url",
    [f"https://user:a/{CANARY}@host/v1", f"https://{'u' * 80}:{CANARY}@host/v1", f"https://host/v1?key={CANARY}"],
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
    said(here("pipeline.data.prepare"))
    set_param(project, "prompt.train_rows", 10)
    set_param(project, "prompt.retries", 0)
    printed = ""
    with serving(spoken) as server:
        set_param(project, "prompt.base_url", server.url)
        for _ in range(3):  # the endpoint counts on, and fails in other ways
            done = here("pipeline.prompting.prompt", "zero_shot", OPENAI_API_KEY=KEY)
            one_line_error(done)
            printed += done.stdout + done.stderr
    assert KEY not in printed
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
