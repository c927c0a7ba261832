"""The arrows between packages, kept by a walk over the imports, and what must never be committed."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

from stages.contract import layout
from stages.contract.pipelines import OBJECT_DETECT, THREAT_DETECT
from stages.contract.records import RECORDS

REPOSITORY = Path(__file__).resolve().parent.parent
ROOTS = {"plugins/airflow_pachyderm": "airflow_pachyderm"}

PAGES = ("names", "threats", "history", "status", "routes.threats")

# What each part may import of the project's own packages besides itself. A module belongs to the longest name that it is within.
ARROWS: dict[str, set[str]] = {
    "protobuf_compat": set(),
    "minipachd.errors": set(),
    "minipachd.settings": set(),
    "minipachd.storage": {"minipachd.errors"},
    "minipachd.pfs": {"minipachd.errors", "minipachd.settings", "minipachd.storage"},
    "minipachd.pps": {"minipachd.errors", "minipachd.settings", "minipachd.storage", "minipachd.pfs"},
    "minipachd.upkeep": {"minipachd.errors", "minipachd.settings", "minipachd.storage", "minipachd.pfs", "minipachd.pps"},
    "minipachd.api": {"minipachd", "protobuf_compat"},
    "airflow_pachyderm": {"protobuf_compat"},
    # Tuskwatch's own pages, until they are registered from outside: they know what the stages write.
    **{f"airflow_pachyderm.dashboard.{page}": {"airflow_pachyderm", "stages.contract"} for page in PAGES},
    "stages": set(),
    "stages.contract": set(),
    "dags": {"airflow_pachyderm", "stages"},
    "laptop": {"airflow_pachyderm", "dags", "stages"},
}
OURS = {"protobuf_compat", "minipachd", "airflow_pachyderm", "stages", "dags", "laptop"}


def modules() -> list[tuple[str, Path]]:
    found = [("protobuf_compat", REPOSITORY / "protobuf_compat.py")]
    for root, base in (("minipachd", ""), ("plugins/airflow_pachyderm", "plugins"), ("stages", ""), ("dags", ""), ("laptop", "")):
        for path in sorted((REPOSITORY / root).rglob("*.py")):
            name = ".".join(path.relative_to(REPOSITORY / base).with_suffix("").parts).removesuffix(".__init__")
            found.append((name, path))
    return found


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update({node.module} | {f"{node.module}.{alias.name}" for alias in node.names if node.module == "minipachd"})
    return {name for name in names if name.split(".")[0] in OURS}


@pytest.mark.parametrize("part", sorted(ARROWS))
def test_imports_point_one_way(part: str) -> None:
    allowed = ARROWS[part] | {part}
    offences = [
        f"{name} imports {target}"
        for name, path in modules()
        if max((other for other in ARROWS if within(name, other)), key=len, default="") == part
        for target in imported(path)
        if not any(within(target, package) for package in allowed) and target != "minipachd"
    ]

    assert offences == []


def direct_imports() -> dict[str, set[str]]:
    """The modules of ours that each module imports, those under TYPE_CHECKING and inside functions too; a package for what it gathers."""
    known = dict(modules())
    graph: dict[str, set[str]] = {}
    for name, path in known.items():
        targets: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                targets.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                submodules = {f"{node.module}.{alias.name}" for alias in node.names}
                targets.update(submodules & known.keys() or {node.module})
        graph[name] = targets & known.keys() - {name}
    return graph


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Each module can be read, and tested, after those that it imports."""
    try:
        graphlib.TopologicalSorter(direct_imports()).prepare()
    except graphlib.CycleError as exc:
        pytest.fail(f"{' -> '.join(exc.args[1])}: take what the first needs out of the last into a module that both import")


# Inside the packages: which of its neighbours a module or package may import.
INSIDE: dict[str, str] = {
    # The functions of PFS take a transaction's state; the transaction that gathers them comes last.
    "minipachd.pfs.types": "ancestry",
    "minipachd.pfs.view": "filetree schema types",
    "minipachd.pfs.writing": "names types upload view",
    # What the stages agree on stands on nothing. They know each other by their files alone.
    "stages.contract.names": "",
    "stages.contract.pipelines": "",
    "stages.contract.shapes": "",
    "stages.contract.records": "names shapes",
    "stages.common": "contract",
    **{f"stages.{stage}": "common contract" for stage in ("validate", "object_detect", "threat_detect", "plot")},
    # The client waits for nobody and knows no Airflow; operators, sensors and page do not know each other.
    "airflow_pachyderm.client": "connection exceptions files logs outcome pod_logs states",
    "airflow_pachyderm.hooks": "client connection discovery exceptions",
    "airflow_pachyderm.triggers": "client conditions connection discovery exceptions outcome",
    "airflow_pachyderm.sensors": "arguments client conditions connection exceptions hooks outcome states triggers waiting",
    "airflow_pachyderm.operators": "arguments assets client connection exceptions files hooks lineage links outcome specs states "
    "triggers waiting",
    "airflow_pachyderm.dashboard": "client connection exceptions hooks pod_logs states",
}


@pytest.mark.parametrize("part", sorted(INSIDE))
def test_imports_inside_a_package_point_one_way(part: str) -> None:
    package = part.rpartition(".")[0]
    allowed = {part, *(f"{package}.{neighbour}" for neighbour in INSIDE[part].split())}
    offences = [
        f"{name} imports {target}"
        for name, targets in direct_imports().items()
        if within(name, part)
        for target in targets
        if within(target, package) and not any(within(target, other) for other in allowed)
    ]

    assert offences == []


def test_what_changes_a_commit_is_known_to_the_transaction_alone() -> None:
    graph = direct_imports()
    functions = {f"minipachd.pfs.{name}" for name in ("branches", "commits", "commitsets", "triggers")}

    assert functions - {"minipachd.pfs.triggers"} <= graph["minipachd.pfs.txn"]
    assert not {name for name in functions if "minipachd.pfs.txn" in graph[name]}


def test_every_module_of_minipachd_belongs_to_a_layer() -> None:
    layers = [part for part in ARROWS if part.startswith("minipachd.")]
    outside = [name for name, _ in modules() if name.startswith("minipachd.") and not any(within(name, layer) for layer in layers)]

    assert outside == ["minipachd.__main__"]


def test_the_conformance_suite_looks_into_no_server() -> None:
    """It must run against any: what it knows comes through the provider and python-pachyderm."""
    suite = sorted((REPOSITORY / "tests" / "conformance").glob("*.py"))
    known = ("airflow_pachyderm", "protobuf_compat", "stages.contract")
    offences = [f"{path.name} imports {name}" for path in suite for name in imported(path) if not any(within(name, part) for part in known)]
    offences += [f"{path.name} says PFS_ROOT" for path in suite if "PFS_ROOT" in path.read_text()]

    assert suite
    assert offences == []


def test_what_the_contract_says_is_written_nowhere_else() -> None:
    """Neither the names of pipelines, nor the schemas of their records, nor the grammar of names, nor the paths that they write."""
    words = {OBJECT_DETECT, THREAT_DETECT, layout.COUNTS, layout.CHART, layout.RULES_PATH, layout.valid("*")}
    parts = (*(record.schema for record in RECORDS), "[0-9]{10", layout.REASON_SUFFIX)
    offences = []
    for name, path in modules():
        if within(name, "stages.contract"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            if text in words or ("\n" not in text and "``" not in text and any(part in text for part in parts)):
                offences.append(f"{name}: {text}")

    assert offences == []


def test_parsing_the_dags_loads_neither_grpc_nor_tensorflow() -> None:
    names = [f"dags.{path.stem}" for path in sorted((REPOSITORY / "dags").glob("*.py"))]
    heavy = ("grpc", "tensorflow", "python_pachyderm")
    code = f"import {', '.join(names)}, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY)

    assert done.stdout.strip().endswith("[]"), done.stdout + done.stderr


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, cwd=REPOSITORY)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [REPOSITORY / name for name in listed.stdout.split("\0") if name]


def test_the_lock_carries_no_index_addresses() -> None:
    assert "://" not in (REPOSITORY / "requirements.txt").read_text()


def test_nothing_large_or_generated_is_committed() -> None:
    large = [str(path) for path in tracked_files() if path.exists() and path.stat().st_size > 3_200_000]
    generated = [str(path) for path in tracked_files() if path.suffix in {".db", ".log", ".pyc"}]

    assert large == []
    assert generated == []
