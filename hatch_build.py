"""Compile the kernel (`zhseq/nn/*.c`) when zhseq is installed, or with `python hatch_build.py` into a checkout.

It needs a C compiler and nothing else. Without one, the package is what it is without the kernel: pure Python, slower.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "zhseq" / "nn"
SOURCES = ("portable.h", "kernel.c", "products.h", "encoder.c", "ngrams.c", "poem.c")  # as in zhseq/device.py
FLAGS = (
    *("-O3", "-std=c11", "-shared", "-fPIC", "-fvisibility=hidden", "-fopenmp-simd"),
    *("-ffp-contract=off", "-fno-trapping-math", "-fno-math-errno"),  # what the results do not depend on
)


def compile_kernel(folder: Path = FOLDER) -> Path | None:
    """Compile the kernel beside its sources; return the library, or None if that was not possible."""
    sources, library = [folder / name for name in SOURCES], folder / "_kernel.so"
    named = os.environ.get("CC") or sysconfig.get_config_var("CC") or ""
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    for compiler in (shlex.split(named)[:1], ["cc"], ["gcc"], ["clang"]):
        if not compiler or shutil.which(compiler[0]) is None:
            continue
        made = library.with_suffix(f".{os.getpid()}")
        units = [str(source) for source in sources if source.suffix == ".c"]
        command = [*compiler, *FLAGS, f'-DZHSEQ_SOURCE="{digest}"', "-o", str(made), *units, "-lm"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            made.replace(library)
            return library
        made.unlink(missing_ok=True)
        print(f"zhseq: {compiler[0]} could not compile the kernel:\n{done.stderr}", file=sys.stderr)
    library.unlink(missing_ok=True)  # of an older source
    return None


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run by hand
    pass
else:

    class KernelHook(BuildHookInterface):  # type: ignore[type-arg]
        """Adds the kernel to a wheel, which is one of this platform then."""

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            """Compile the kernel; see the base class."""
            library = compile_kernel()
            if library is not None and version != "editable":
                build_data["force_include"][str(library)] = "zhseq/nn/_kernel.so"
                build_data["pure_python"] = False
                platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
                build_data["tag"] = f"py3-none-{platform}"


if __name__ == "__main__":
    sys.exit(None if compile_kernel() else "there is no C compiler that can compile the kernel")
