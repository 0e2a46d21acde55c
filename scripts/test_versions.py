"""Run the tests with the oldest versions of all dependencies that pyproject.toml allows, or with the newest.

    python scripts/test_versions.py oldest                  # a virtual environment of its own, then pytest
    python scripts/test_versions.py newest -- tests/serve   # what stands behind -- goes to pytest

`oldest` installs the version that each requirement names as its lowest, of the package and of the extra `dev`, which
holds the others; `uv` says which of them cannot be installed together, and finds versions of what they need in turn.
These are new, so that old packages may warn of them: warnings are no errors there. Of torch there is one build where no
index of old CPU builds is at hand (what others have for it brings gigabytes of CUDA): it stays the same, `--torch`
names it, and what was not tested for it is said at the end.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
TORCH = "2.13.0"
_REQUIREMENT = re.compile(r"(?P<name>[\w-]+(?:\[[\w,]+\])?)\s*(?P<versions>[^;]*)(?P<where>;.*)?")


def requirements(project: Mapping[str, Any]) -> list[str]:
    """Return what a project requires, by itself, for the extra `dev` and for the extras that this names."""
    optional = project["optional-dependencies"]
    (named,) = [each for each in optional["dev"] if each.startswith("zhseq[")]
    extras = named.removeprefix("zhseq[").removesuffix("]").split(",")
    tools = [each for each in optional["dev"] if each != named]
    return [*project["dependencies"], *(each for extra in extras for each in optional[extra]), *tools]


def oldest(requirement: str) -> str:
    """Pin a requirement to the lowest version that it allows.

    Raises:
        ValueError: It has no lower bound, so that nobody could tell what it allows.
    """
    found = _REQUIREMENT.fullmatch(requirement.strip())
    lowest = re.search(r">=\s*([\w.]+)", found["versions"]) if found else None
    if found is None or lowest is None:
        raise ValueError(f"expected a requirement with a lower bound, NAME>=VERSION, but got {requirement!r}")
    return f"{found['name']}=={lowest[1]}{found['where'] or ''}"


def wanted(project: Mapping[str, Any], which: str, torch: str) -> list[str]:
    """Return what is to be installed: requirements pinned, those with a lower bound, or as new as they come."""
    needed = [each for each in requirements(project) if not each.startswith("torch>")]
    pinned = [oldest(each) if ">=" in each else each for each in needed] if which == "oldest" else needed
    return [f"torch=={torch}", *pinned]


def split(arguments: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Return what stands before `--`, and what behind it."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:end], arguments[end + 1 :]


def main() -> int:
    """Make an environment, say what is in it, run the tests there, and return their exit status."""
    parser = argparse.ArgumentParser(description="Run the tests with the oldest or the newest dependencies.")
    parser.add_argument("which", choices=("oldest", "newest"))
    parser.add_argument("--python", default=sys.executable, help="whose environment (default: this one)")
    parser.add_argument("--torch", default=TORCH, help=f"version of torch (default: {TORCH})")
    parser.add_argument("--venv", type=Path, help="keep the environment here (default: a temporary one)")
    own, behind = split(sys.argv[1:])
    options = parser.parse_args(own)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    with tempfile.TemporaryDirectory() as temporary:
        venv = options.venv or Path(temporary) / "venv"
        subprocess.run([options.python, "-m", "venv", venv], check=True)
        python = venv / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        pip = [python, "-m", "pip", "install", "-q"]
        subprocess.run([*pip, "uv"], check=True)
        # By pip, which may know of a build without libraries of CUDA; with it there, uv takes no other.
        subprocess.run([*pip, "--no-deps", f"torch=={options.torch}"], check=True)
        uv = [python, "-m", "uv", "pip", "install", "-q", "--python", python]
        subprocess.run([*uv, *wanted(project, options.which, options.torch)], check=True)
        subprocess.run([*pip, "--no-deps", "-e", ROOT], check=True)
        subprocess.run([python, "-m", "pip", "list"], check=True)
        lenient = ["-o", "filterwarnings="] if options.which == "oldest" else []
        status = subprocess.run([python, "-m", "pytest", *lenient, *behind], cwd=ROOT).returncode
    lowest = next(oldest(each) for each in project["dependencies"] if each.startswith("torch>"))
    if options.which == "oldest" and lowest != f"torch=={options.torch}":
        print(f"not tested: {lowest}, the lowest that is allowed; this ran with torch=={options.torch}")
    return status


if __name__ == "__main__":
    sys.exit(main())
