"""What make installs: no more than a target needs, from wherever pip is set to look, and nothing that is there already."""

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from conftest import ROOT

from tools.install import BESIDE, INDEX, LOCKS, as_uv_has_it, canonical, missing, settings

REQUIREMENTS = ROOT / "requirements"
TOOLS = ["moto", "mypy", "pip-audit", "playwright", "pre-commit", "pytest", "ruff", "triton"]


def pinned(name: str) -> dict[str, set[str]]:
    """By package the versions that a requirements file pins (they may differ by Python's version)."""
    found: dict[str, set[str]] = {}
    text = (REQUIREMENTS / f"{name}.txt").read_text()
    for package, version in re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE):
        found.setdefault(package, set()).add(version)
    return found


# --- what is locked ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOCKS)
def test_requirements_have_hashes_and_name_no_index(name: str) -> None:
    text = (REQUIREMENTS / f"{name}.txt").read_text()
    assert not re.findall(r"^.*(?:://|--index|--extra|--find|--trusted|^-).*$", text, re.MULTILINE)
    entries = re.split(r"\n(?=\w)", text.strip())
    assert len(entries) >= len(pinned(name)) > 0
    hashed = re.compile(r"[a-z0-9-]+==\S+( ; .+)? \\(\n    --hash=sha256:[0-9a-f]{64}( \\)?)+")
    assert all(hashed.fullmatch(entry) for entry in entries)


@pytest.mark.parametrize(("less", "more"), [("light", "full"), ("full", "dev")])
def test_what_is_enough_for_less_is_part_of_what_is_for_more_in_the_same_versions(less: str, more: str) -> None:
    assert pinned(less).items() < pinned(more).items()


def imported(path: Path) -> set[str]:
    """The top-level names that a module imports, wherever in it."""
    nodes = [*ast.walk(ast.parse(path.read_text()))]
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    return {module.partition(".")[0] for module in modules}


def test_what_the_pipeline_imports_comes_with_a_run_and_what_tests_and_tools_need_does_not() -> None:
    assert not pinned("full").keys() & {*TOOLS}
    assert not pinned("light").keys() & {"torch", "transformers", "openai"}
    names = (
        {name for path in (ROOT / "pipeline").rglob("*.py") for name in imported(path)}
        - sys.stdlib_module_names
        - {"pipeline"}
    )
    packages_of, coming = packages_distributions(), pinned("full").keys()
    assert not {name for name in names if not coming & {canonical(one) for one in packages_of.get(name, [name])}}


# --- what is missing --------------------------------------------------------------------------------------------------

ENTRIES = """\
numpy==2.4.6 ; python_version < '3' \\
    --hash=sha256:00
numpy==2.5.5 ; python_version >= '3' \\
    --hash=sha256:01 \\
    --hash=sha256:02
nvidia-cublas==13.1 ; sys_platform != 'nowhere' \\
    --hash=sha256:03
nvidia-ml-py==13.6 \\
    --hash=sha256:04
torch==2.14.1 \\
    --hash=sha256:05
"""


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        ({"numpy": "2.4.6", "torch": "2.14.1"}, ["numpy==2.5.5", "nvidia-cublas==13.1", "nvidia-ml-py==13.6"]),
        ({"numpy": "2.5.5", "nvidia-cublas": "13.1", "nvidia-ml-py": "13.6", "torch": "2.14.1"}, []),
        ({"numpy": "2.5.5", "torch": "2.14.1+cpu"}, ["nvidia-ml-py==13.6"]),
        ({"numpy": "2.5.5", "torch": "2.13.0+cpu"}, ["nvidia-ml-py==13.6", "torch==2.14.1"]),
    ],
)
def test_what_is_missing_is_what_holds_here_and_is_not_there(there: dict[str, str], wanted: list[str]) -> None:
    """A torch for CPUs that somebody put there stays, and needs no GPU libraries."""
    found = missing(ENTRIES, there)
    assert [entry.partition(" ")[0] for entry in found] == wanted
    assert all(entry.count("--hash") == 1 + ("numpy" in entry) for entry in found)


def test_uv_is_told_what_pip_is_set_to() -> None:
    listed = r"""
:env:.find-links='/wheels'
:env:.index-url='https://name:word@first/simple'
download.index-url='https://no/simple'
global.cert='/ca.pem'
global.extra-index-url='https://second/simple\nhttps://third/simple'
global.find-links='/other'
global.index-url='https://no/simple'
install.find-links='/a /b'
install.no-index='true'
"""
    found = settings(listed)
    assert found["no-index"] == "true"
    assert as_uv_has_it(found, INDEX | BESIDE) == {
        "UV_DEFAULT_INDEX": "https://name:word@first/simple",
        "SSL_CERT_FILE": "/ca.pem",
        "UV_INDEX": "https://second/simple https://third/simple",
        "UV_FIND_LINKS": "/wheels",
    }
    assert as_uv_has_it(settings("install.find-links='/a /b'"), BESIDE) == {"UV_FIND_LINKS": "/a,/b"}
    assert as_uv_has_it(settings(""), INDEX | BESIDE) == {}


# --- make -------------------------------------------------------------------------------------------------------------


def wheel(index: Path, name: str, version: str, script: Path | None = None) -> str:
    """Put a package in an index; the entry of a requirements file for it."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}_.py": f"VERSION = {version!r}",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    scripts = [f"{name}-{version}.data/scripts/{script.name}"] if script else []
    page = index / name / "index.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    path = page.parent / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
        for file in scripts:
            archive.write(script, file)
        archive.writestr(f"{info}/RECORD", "".join(f"{file},,\n" for file in [*files, *scripts, f"{info}/RECORD"]))
    with page.open("a") as links:
        links.write(f'<a href="{path.name}">{path.name}</a>\n')
    return f"{name}=={version} \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


Make = Callable[..., str]
with_make = pytest.mark.skipif(not shutil.which("make"), reason="there is no make")


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Run make in a project of a Makefile and its installer alone, with pip set to indexes of the test's own; what it says."""
    project = tmp_path / "project"
    shutil.copytree(ROOT / "tools", project / "tools")
    shutil.copy(ROOT / "Makefile", project)
    shutil.copy(ROOT / "pyproject.toml", project)  # its settings for uv are not for an install
    shutil.copytree(REQUIREMENTS, project / "requirements")
    first, second = tmp_path / "first", tmp_path / "second"
    wheel(second, "a", "0.9")  # a place where the index's version is not
    entries = [wheel(first, "a", "1.0"), wheel(first, "b", "1.0"), wheel(first, "c", "1.0")]
    for count, name in enumerate(("light", "full", "dev"), 1):
        (project / f"requirements/{name}.txt").write_text("".join(entries[:count]))
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "PYTHON", "MAKE"))
    }
    environment = inherited | {
        "HOME": str(tmp_path),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": first.as_uri(),
        "PIP_EXTRA_INDEX_URL": second.as_uri(),
    }

    def run(*targets: str, succeeds: bool = True, **more: str) -> str:
        done = subprocess.run(
            ["make", f"PYTHON={sys.executable}", *targets],
            cwd=project,
            env=environment | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert (done.returncode == 0) == succeeds, done.stdout
        return done.stdout

    return run


def packages(project: Path) -> dict[str, int]:
    """The test's packages that are in the environment, and when each came there."""
    [folder] = (project / ".venv/lib").glob("python*/site-packages")
    return {path.parent.stem: path.stat().st_mtime_ns for path in folder.glob("[abc]-*.dist-info/INSTALLER")}


@with_make
@pytest.mark.slow
def test_make_installs_what_a_target_needs_once(make: Make, tmp_path: Path) -> None:
    project = tmp_path / "project"
    assert "uv cannot be had, or failed: pip installs" in make("light")  # uv is not in the index
    assert packages(project).keys() == {"a-1.0"}
    before = packages(project)
    for path in project.rglob("*.txt"):
        path.touch()
    assert make("light") == ""
    assert packages(project) == before

    make("dev")
    assert packages(project).keys() == {"a-1.0", "b-1.0", "c-1.0"}
    before = packages(project)
    assert make("light", "install", "dev") == "", "what is enough for more is enough for less"
    assert packages(project) == before

    # A new version, and an install that was killed before it was done.
    (project / "requirements/light.txt").write_text(wheel(tmp_path / "first", "a", "1.1"))
    next((project / ".venv/lib").glob("python*/site-packages/b-*.dist-info/INSTALLER")).unlink()
    make("light")
    assert packages(project).keys() == {"a-1.1", "c-1.0"}
    assert packages(project)["c-1.0"] == before["c-1.0"]


@with_make
@pytest.mark.slow
def test_uv_installs_where_it_can_be_had(make: Make, tmp_path: Path) -> None:
    binary = Path(sys.executable).parent / "uv"
    if not binary.is_file():
        pytest.skip("there is no uv in this environment")
    project = tmp_path / "project"
    [version] = pinned("uv")["uv"]
    (project / "requirements/uv.txt").write_text(wheel(tmp_path / "first", "uv", version, binary))
    assert "pip installs" not in make("light")
    assert not [*project.rglob("a_.*.pyc")], "Python does it for what it imports"
    assert "pip installs" not in make("install", PYTHONDONTWRITEBYTECODE="1")
    assert [*project.rglob("b_.*.pyc")], "which Python is not to do"
    assert packages(project).keys() == {"a-1.0", "b-1.0"}
    assert {path.read_text() for path in project.rglob("[ab]-1.0.dist-info/INSTALLER")} == {"uv"}

    dev = project / "requirements/dev.txt"
    dev.write_text(re.sub(r"sha256:\w+", f"sha256:{64 * '0'}", dev.read_text()))
    assert ": 1 packages of requirements/dev.txt are not installed; see above" in make("dev", succeeds=False)
    assert packages(project).keys() == {"a-1.0", "b-1.0"}, "not what was pinned"


@with_make
@pytest.mark.parametrize(
    ("target", "needs"),
    [
        *((target, "light") for target in ("predict", "docs", "plots", "pull", "deps")),
        *((target, "full") for target in ("repro", "study", "notebooks")),
        *((target, "dev") for target in ("test", "check", "soak", "audit", "keys", "format")),
    ],
)
def test_a_target_asks_for_no_more_than_it_needs(target: str, needs: str) -> None:
    shown = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"-m tools.install requirements/(\w+).txt", shown) == [needs]
