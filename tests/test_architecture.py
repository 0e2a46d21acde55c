"""The walls of the house: who may import whom. `ARCHITECTURE.md` draws the same picture."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

from zhseq.device import BACKENDS, instructions

PACKAGE = Path(__file__).resolve().parent.parent / "zhseq"

# From the ground up; a unit imports only what lies below it. Units of one layer do not know each other.
LAYERS = (
    {"messages"},
    {"errors"},
    {"config"},
    {"batching", "checkpoint", "cli", "device", "text"},
    {"corpus", "graph", "nn", "training"},
    {"classifier", "poetry", "tagging"},
    {"bulk", "recipes"},
    {"poem", "verse", "tag", "classify", "train", "evaluate", "export", "mcp", "serve", "corpus.__main__"},
    {"__main__"},
)
FLOOR = {unit: floor for floor, units in enumerate(LAYERS) for unit in units}
FRONT_DOORS = LAYERS[-2]
TORCH = {"torch", "torchcrf", "safetensors"}
# Units and modules that neither import torch nor anything that does, wherever in a file the import stands; what they
# import may be of `LOADED_WITHOUT_TORCH`.
WITHOUT_TORCH = (
    *("cli", "config", "corpus", "errors", "messages", "nn.viterbi", "text"),
    *("poetry.faults", "poetry.fitting", "poetry.forms", "poetry.prosody", "poetry.reading"),
    *("poetry.review", "poetry.sense"),
    *(
        "tagging.blocks",
        "tagging.decoding",
        "tagging.dictionary",
        "tagging.formats",
        "tagging.lexicon",
        "tagging.matching",
    ),
    *("bulk.inputs", "bulk.records"),
    *(
        "serve.gate",
        "serve.http",
        "serve.metrics",
        "serve.openapi",
        "serve.processes",
        "serve.protocol",
        "serve.reading",
    ),
    *("serve.schemas", "serve.settings"),
)
# Modules that import it, if at all, where a function is asked for what needs it.
LOADED_WITHOUT_TORCH = (
    *(
        "batching",
        "bulk.run",
        "bulk.workers",
        "checkpoint",
        "device",
        "evaluate",
        "export",
        "graph",
        "poem",
        "tag",
    ),
    *(
        "poetry.coherence",
        "poetry.network",
        "poetry.poet",
        "poetry.rules",
        "poetry.sampling",
        "poetry.scoring",
        "poetry.search",
    ),
    "poetry.writer",
    *("tagging.evaluation", "tagging.features", "tagging.graph", "tagging.native", "tagging.tagger"),
)


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> set[str]:
    """Full names of all that a file imports, wherever in it the import stands."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}, line {node.lineno}: imports are absolute in this project"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def unit_of(name: str) -> str:
    """The part of zhseq that a module belongs to: `zhseq.nn.crf` -> `nn`, `zhseq` itself -> ``.

    `zhseq.corpus.__main__` is a front door of its own, whatever folder Python wants it in.
    """
    if name == "zhseq.corpus.__main__":
        return "corpus.__main__"
    return name.split(".")[1] if "." in name else ""


MODULES = {module_name(path): imported(path) for path in sorted(PACKAGE.rglob("*.py"))}
EDGES = sorted({(module, unit_of(name)) for module in MODULES for name in MODULES[module] if name.startswith("zhseq.")})


def graph_of_modules() -> dict[str, set[str]]:
    """Which module imports which, by full names; importing a name of a module is importing the module."""
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for module, names in MODULES.items():
        for name in names:
            while name and name not in MODULES:
                name = name.rpartition(".")[0]
            graph[module] |= {name} - {"", module}
    return graph


GRAPH = graph_of_modules()


def test_the_parser_sees_the_imports() -> None:
    assert ("zhseq.poetry.model", "nn") in EDGES
    assert ("zhseq.recipes.poem", "training") in EDGES
    assert "torch.Tensor" in MODULES["zhseq.batching"]
    assert "zhseq.nn.crf" in GRAPH["zhseq.tagging.model"]


def test_there_is_no_circle_of_imports() -> None:
    try:
        graphlib.TopologicalSorter(GRAPH).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_the_wings_do_not_know_each_other() -> None:
    assert not [edge for edge in EDGES if (unit_of(edge[0]), edge[1]) in {("poetry", "tagging"), ("tagging", "poetry")}]


def test_every_unit_has_its_place() -> None:
    homeless = {unit_of(module) for module in MODULES} - set(FLOOR) - {""}
    assert not homeless, f"give {homeless} a layer in this test and in ARCHITECTURE.md"


def test_imports_point_down() -> None:
    wrong = [
        f"{module} imports {unit}"
        for module, unit in EDGES
        if unit_of(module) not in ("", unit) and FLOOR[unit] >= FLOOR[unit_of(module)]
    ]
    assert wrong == []


def test_training_knows_nothing_of_poems_or_tags() -> None:
    known = {unit for module, unit in EDGES if unit_of(module) == "training"}
    assert known <= {"errors", "batching", "checkpoint", "config", "device", "training"}


def test_the_package_itself_imports_no_front_door() -> None:
    assert not [unit for module, unit in EDGES if module == "zhseq" and unit in FRONT_DOORS]


def reached_from(module: str) -> set[str]:
    """All modules that a module imports, directly or by way of others."""
    reached, waiting = set[str](), [module]
    while waiting:
        here = waiting.pop()
        waiting += GRAPH[here] - reached
        reached |= GRAPH[here]
    return reached


@pytest.mark.parametrize("place", WITHOUT_TORCH)
def test_light_modules_never_reach_torch(place: str) -> None:
    found = [module for module in MODULES if f"{module}.".startswith(f"zhseq.{place}.")]
    inside = [module for module in found if unit_of(module) != "corpus.__main__"]
    assert inside
    for module in inside:
        later = {f"zhseq.{name}" for name in LOADED_WITHOUT_TORCH}
        for reached in {module, *reached_from(module)} - later:
            assert not {name for name in MODULES[reached] if name.partition(".")[0] in TORCH}, f"{module}: {reached}"


def test_what_can_do_without_torch_loads_none() -> None:
    modules = loaded_by(f"import {', '.join(f'zhseq.{module}' for module in LOADED_WITHOUT_TORCH)}")
    assert "numpy" in modules
    assert not modules & {*TORCH, "jieba", "datasets", "opencc", "huggingface_hub", "tqdm", "onnxruntime"}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_pickle(module: str) -> None:
    """Weights and tables are read from formats that cannot run code."""
    forbidden = ("pickle", "cPickle", "dill", "joblib", "shelve", "torch.load", "torch.save")
    assert not [name for name in MODULES[module] if name.startswith(forbidden)]
    path = PACKAGE.parent.joinpath(*module.split("."))
    source = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")
    tree = ast.parse(source)
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not calls & {"torch.load", "torch.save", "pickle.load", "pickle.loads", "torch.jit.load"}
    assert "allow_pickle" not in source


def loaded_by(statement: str) -> set[str]:
    """Run a statement in a new process; it must print nothing. Return the modules that are loaded then."""
    program = f"{statement}\nimport sys; sys.stdout.write(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(done.stdout.split(" "))


def test_importing_zhseq_is_silent_and_loads_nothing_heavy() -> None:
    modules = loaded_by("import zhseq; zhseq.__version__")
    assert "zhseq" in modules
    assert not modules & {"torch", "numpy", "jieba", "datasets", "opencc", "tqdm", "huggingface_hub"}


def test_what_zhseq_offers_is_shown_and_there() -> None:
    modules = loaded_by(
        "import zhseq; from zhseq import Document, Entity, UserDictionary, Word, explain; "
        "assert zhseq.__all__ == dir(zhseq); assert not hasattr(zhseq, 'Peot'); assert explain('nr', 'zh') == '人名'"
    )
    assert "torch" not in modules
    loaded_by("import zhseq; assert all(getattr(zhseq, name) for name in zhseq.__all__)")


def test_importing_the_text_code_loads_no_torch() -> None:
    modules = loaded_by("import zhseq.text, zhseq.poetry.forms")
    assert "numpy" in modules
    assert "torch" not in modules


MOST_MODULES = 115
"""A stranger should see in one sitting what each is for; what is one idea is one file."""


def test_the_house_has_few_modules() -> None:
    modules = [path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= MOST_MODULES


MOST_FILES_OF_A_LINE = 24
"""Files whose functions a line passes on its way through `python -m zhseq.tag`: whoever follows it reads these."""
_FOLLOW = """
import inspect, sys

passed = set()

def look(frame, event, argument):
    code = frame.f_code
    if event == "call" and code.co_flags & inspect.CO_OPTIMIZED:  # a function; bodies of modules and classes are not
        passed.add(code.co_filename)

sys.setprofile(look)
from zhseq.tag import main
main(sys.argv[1:])
sys.setprofile(None)
sys.stderr.write("\\n".join(passed))
"""


# JSON that zhseq has written for itself, and that nobody else could have: what ships, and what this process was given.
OWN_JSON = {
    ("bulk/ray.py", "__call__"),
    ("bulk/ray.py", "_read"),
    ("corpus/poems.py", "drop_report"),
    ("corpus/registry.py", "manifest"),
    ("recipes/card.py", "write_card"),
    ("serve/processes.py", "_ask"),
    ("serve/processes.py", "said"),
}


def _parses(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) in ("json.loads", "json.load")


def test_whoever_parses_json_of_others_minds_how_deep_it_is() -> None:
    """A file with brackets in brackets, a hundred thousand deep, raises RecursionError, which is no ValueError."""
    bare: set[tuple[str, str]] = set()
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            guarded = {
                call
                for tried in ast.walk(function)
                if isinstance(tried, ast.Try)
                and any("RecursionError" in ast.unparse(each.type) for each in tried.handlers if each.type)
                for statement in tried.body
                for call in ast.walk(statement)
            }
            if any(_parses(node) and node not in guarded for node in ast.walk(function)):
                bare.add((path.relative_to(PACKAGE).as_posix(), function.name))
    assert bare == OWN_JSON


def test_a_progress_bar_that_is_given_what_it_counts_is_iterated_once() -> None:
    """Since tqdm 4.70.1, a bar whose iteration ends before its source ends the source, too."""
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        kept = [
            node.value if isinstance(node, ast.Assign | ast.AnnAssign) else node.context_expr
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign | ast.AnnAssign | ast.withitem)
        ]
        for call in kept:
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "tqdm":
                assert not call.args, f"{path.name}:{call.lineno}: a bar with a name may be iterated again"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_line_passes_few_files_on_its_way_into_tags(tmp_path: Path, backend: str) -> None:
    """From the command line to the output: arguments, input, loading of the model, tagging, output."""
    if backend == "onnx":
        pytest.importorskip("onnxruntime")
    if backend == "native" and not instructions():
        pytest.skip("the loops are not compiled")
    (tmp_path / "line.txt").write_text("江泽民主席在北京会见了外宾。\n", encoding="utf-8")
    command = [sys.executable, "-c", _FOLLOW, str(tmp_path / "line.txt"), "--backend", backend]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    passed = {Path(name).relative_to(PACKAGE) for name in done.stderr.splitlines() if name.startswith(str(PACKAGE))}
    assert {Path("tag.py"), Path("tagging/tagger.py"), Path("tagging/decoding.py")} <= passed
    assert len(passed) <= MOST_FILES_OF_A_LINE, sorted(map(str, passed))
    assert "北京/ns" in done.stdout
