"""The house keeps its order: imports go one way, names do not clash with MONAI's, files stay small and portable."""

import ast
import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest

import monai_agglo

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "monai_agglo"
FLOORS = (
    {"__main__"},
    {"apps", "bundle"},
    {"engines", "handlers", "inferers", "data", "phantom"},
    {"losses", "networks", "metrics", "inferers", "swallow"},
)
"""From the roof down. A room may import rooms of lower floors, and of its own floor where that makes no circle."""
ALONE = {"networks", "losses", "swallow"}
"""These import no other room at all."""
HEAVY = {"av", "highdicom", "itk", "mlflow", "sam2", "transformers"}
"""Imported where they are used, never when a module is read."""


def sources():
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path):
    """Rooms of our package that a file imports, absolute or relative, anywhere in it."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    package = parts[:-1]
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            names += [f"{module}.{alias.name}" for alias in node.names]
    rooms = {name.split(".")[1] for name in names if name.startswith("monai_agglo.")}
    known = set().union(*FLOORS)
    return (rooms & known) - {room_of(path)}


def floor_of(room):
    return next(level for level, rooms in enumerate(FLOORS) if room in rooms)


def test_every_room_is_in_the_plan():
    rooms = {room_of(path) for path in sources()} - {"__init__"}
    assert rooms <= set().union(*FLOORS), "architecture: give the new room a floor"


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path):
    room = room_of(path)
    if room == "__init__":
        assert not imported_rooms(path)
        return
    others = imported_rooms(path)
    if room in ALONE:
        assert not others, f"{room} stands alone but imports {others}"
    upward = {other for other in others if floor_of(other) < floor_of(room)}
    assert not upward, f"{room} imports {upward}, which lies above it"


def test_no_circles_between_rooms():
    arrows = {}
    for path in sources():
        arrows.setdefault(room_of(path), set()).update(imported_rooms(path))
    while arrows:
        ends = {room for room in arrows if not arrows[room] & arrows.keys()}
        assert ends, f"a circle of imports among {sorted(arrows)}"
        for room in ends:
            del arrows[room]


def module_level_imports(path):
    """First names of modules imported when the file is read (not inside functions, not for type checking)."""
    found = set()
    pending = list(ast.parse(path.read_text(encoding="utf-8")).body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
        elif isinstance(node, (ast.If, ast.Try, ast.With, ast.ClassDef)):
            pending += ast.iter_child_nodes(node)
    return found


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_packages_are_imported_late(path):
    assert not module_level_imports(path) & HEAVY


def all_modules():
    names = [m.name for m in walk_packages(monai_agglo.__path__, "monai_agglo.") if not m.name.endswith("__main__")]
    return [import_module(name) for name in names]


def test_no_class_has_the_name_of_a_monai_class():
    """MONAI resolves bare names in configs over every module whose name starts with "monai", ours included."""
    import monai.bundle  # noqa: F401  (loads MONAI's sub-modules)

    theirs = {
        name
        for key, module in list(sys.modules.items())
        if key.split(".")[0] == "monai" and module is not None
        for name, value in vars(module).items()
        if inspect.isclass(value) or inspect.isfunction(value)
    }
    assert "SupervisedTrainer" in theirs and "DiceLoss" in theirs
    ours = {
        name: module.__name__
        for module in all_modules()
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__ and not name.startswith("_")
    }
    assert ours, "no classes found"
    assert not {name: where for name, where in ours.items() if name in theirs}


def test_public_names_exist():
    for module in all_modules():
        missing = [name for name in getattr(module, "__all__", ()) if not hasattr(module, name)]
        assert not missing, f"{module.__name__}.__all__ lists {missing}"


def tracked(*patterns):
    if not (ROOT / ".git").exists():
        pytest.skip("not a git clone: the tracked files are not known")
    found = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [ROOT / line for line in found.stdout.splitlines() if (ROOT / line).is_file()]


def test_files_are_small():
    long = {str(p): n for p in tracked("*.py", "*.sh") if (n := len(p.read_text(encoding="utf-8").splitlines())) > 400}
    assert not long, f"split these: {long}"


MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|root|home/\w+|Users/\w+|opt/\w+|mnt/\w+)(?:/|\b)")


def test_no_machine_paths():
    """Nothing in the project may depend on where somebody keeps it."""
    suffixes = {".py", ".sh", ".md", ".json", ".yml", ".yaml", ".toml", ".conf", ".txt", ".cfg", ".in", ""}
    found = []
    for path in tracked():
        if path.suffix not in suffixes or path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if match := MACHINE_PATH.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {match.group()}")
    assert not found


def test_machine_path_pattern_finds_them():
    assert MACHINE_PATH.search("open('/home/someone/x')") and MACHINE_PATH.search("cd /root")
    assert not MACHINE_PATH.search("https://example.org/work/x")
    assert not MACHINE_PATH.search("docs/root/page")


def test_no_weights_are_unpickled():
    """torch.load only with weights_only=True."""
    for path in tracked("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                safe = any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords)
                assert safe, f"{path}:{node.lineno}"
