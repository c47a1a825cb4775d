"""Make this environment hold what a requirements file pins. What is there already, by name and version, is left alone.

uv does it: pip brings it into the environment, and it looks where pip is set to look. Where uv cannot be had, or fails, pip does
it.

out: packages in the environment; with --lock the files in requirements/, anew from pyproject.toml
run: .venv/bin/python -m tools.install requirements/full.txt   (make install does; for --lock make lock)
"""

import argparse
import ast
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

UV = Path("requirements/uv.txt")
"""What pins uv itself."""

LOCKS = {
    "uv": ["--group", "uv"],
    "dev": ["pyproject.toml", "--extra", "dev"],
    "full": ["pyproject.toml", "--extra", "full", "--constraint", "requirements/dev.txt"],
    "light": ["pyproject.toml", "--constraint", "requirements/dev.txt"],
}
"""Of each file in requirements/, what of pyproject.toml it pins; the others have the versions of dev."""

INDEX = {
    "index-url": "UV_DEFAULT_INDEX",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
    "trusted-host": "UV_INSECURE_HOST",
}
"""What uv calls settings of pip: where the index is, and how to get there."""

BESIDE = {"extra-index-url": "UV_INDEX", "find-links": "UV_FIND_LINKS"}
"""And where else packages lie. What is locked is the index's alone: copies that lie elsewhere are not those of all machines."""


def canonical(name: str) -> str:
    """A package's name as requirements files spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed() -> dict[str, str]:
    """The version of each package that is wholly in this environment: an installer leaves its own name when it is done."""
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    stems = (path.parent.stem for folder in folders for path in Path(folder).glob("*.dist-info/INSTALLER"))
    return {canonical(name): version for name, _, version in (stem.partition("-") for stem in stems)}


def missing(text: str, there: Mapping[str, str]) -> list[str]:
    """The entries of a requirements file, hashes included, that hold for this machine and are not there.

    A torch that was built for CPUs alone, which somebody put there, needs no GPU libraries.
    """
    from pip._vendor.packaging.requirements import Requirement  # noqa: PLC0415 - it may not be there yet

    without_gpus = there.get("torch", "").endswith("+cpu")

    def needed(entry: str) -> bool:
        wanted = Requirement(entry.partition("\\")[0])
        for_gpus = re.match(r"nvidia-(?!ml-py$)|cuda-", wanted.name)
        if (wanted.marker and not wanted.marker.evaluate()) or (without_gpus and for_gpus):
            return False
        return wanted.name not in there or not wanted.specifier.contains(there[wanted.name], prereleases=True)

    return [entry for entry in re.split(r"\n(?=\w)", text.strip()) if needed(entry)]


def settings(listed: str) -> dict[str, str]:
    """What pip is set to when it installs, by option, from what `pip config list` says."""
    order = ["global", "install", ":env:"]
    found = re.findall(r"^(global|install|:env:)\.([\w-]+)=(.+)$", listed, re.MULTILINE)
    return {option: ast.literal_eval(value) for _, option, value in sorted(found, key=lambda one: order.index(one[0]))}


def as_uv_has_it(of_pip: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    """Environment variables of uv for the settings of pip that are named."""
    given = {uv: of_pip[option].split() for option, uv in names.items() if option in of_pip}
    return {uv: ("," if uv == "UV_FIND_LINKS" else " ").join(values) for uv, values in given.items()}


PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


def succeeds(*command: str | Path, environment: Mapping[str, str] | None = None) -> bool:
    """Whether a command ends with 0; what it writes is to be seen."""
    return subprocess.run(command, env=environment, stdout=sys.stderr, check=False).returncode == 0


def uv(*arguments: str | Path, names: Mapping[str, str]) -> bool:
    """Run uv, which pip brings if it is not here, on what pip is set to; whether all of that succeeded."""
    if missing(UV.read_text(encoding="utf-8"), installed()):
        strictly = ("--require-hashes", "--no-deps", "--only-binary", ":all:")
        if not succeeds(*PIP, "install", "--quiet", *strictly, "-r", UV):
            return False
    of_pip = settings(subprocess.run([*PIP, "config", "list"], capture_output=True, text=True, check=True).stdout)
    # Of copies of a version in several places any will do, as for pip, for its hash is pinned.
    own = {"UV_INDEX_STRATEGY": "unsafe-best-match"} | as_uv_has_it(of_pip, names)
    no_index = ["--no-index"] if of_pip.get("no-index", "0").lower() in {"1", "true", "yes", "on"} else []
    return succeeds(
        Path(sysconfig.get_path("scripts")) / "uv", "pip", *arguments, *no_index, environment=own | os.environ
    )


def install(requirements: Path) -> None:
    """Install what is missing of a requirements file."""
    text = requirements.read_text(encoding="utf-8")
    entries = missing(text, installed())
    if not entries:
        return
    print(f"{requirements}: installing {len(entries)} packages in {sys.prefix}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / requirements.name
        wanted.write_text("\n".join(entries), encoding="utf-8")
        strictly = ("--require-hashes", "--no-deps", "-r", wanted)
        # Of pyproject.toml uv would read what is for --lock. Where Python writes no bytecode, each process would compile anew.
        how = ["--no-config", *(["--compile-bytecode"] if sys.dont_write_bytecode else [])]
        if not uv("install", *how, "--python", sys.executable, *strictly, names=INDEX | BESIDE):
            print("uv cannot be had, or failed: pip installs", file=sys.stderr)
            succeeds(*PIP, "install", *strictly)
    if left := missing(text, installed()):
        sys.exit(
            f"error: {sys.prefix}: {len(left)} packages of {requirements} are not installed; see above, and run again"
        )


def lock() -> None:
    """Write the requirements files. Versions that they have stay, as far as pyproject.toml allows."""
    universal = ["--universal", "--python-version", "3.11", "--generate-hashes"]
    quietly = ["--no-header", "--no-annotate", "--quiet"]
    for name, what in LOCKS.items():
        if not uv("compile", *what, *universal, *quietly, "--output-file", f"requirements/{name}.txt", names=INDEX):
            sys.exit(f"error: requirements/{name}.txt: uv cannot be had, or failed; see above")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("requirements", type=Path, nargs="?", help="such as requirements/full.txt")
    what.add_argument("--lock", action="store_true", help="write the files in requirements/ anew")
    arguments = parser.parse_args()
    try:
        if not find_spec("pip"):  # some tools make environments without
            subprocess.run([sys.executable, "-m", "ensurepip"], stdout=sys.stderr, check=True)
        lock() if arguments.lock else install(arguments.requirements)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
