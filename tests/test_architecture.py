"""Two wings, arrows that go one way, no circle; names unlike MONAI's; files small and portable."""

import ast
import inspect
import os
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from pydoc import locate

import pytest

import monai_agglo

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "monai_agglo"
BASE = ("files", "lazy", "locate", "malloc", "outputs", "processes")
USE = ("swallow", "cine", "pictures", "dicom", "pacs", "prediction", "reporting", "node")
TEACH = ("networks", "losses", "metrics", "phantom", "data", "inferers", "engines", "handlers", "bundle", "distill")
ORDER = (*BASE, *USE, *TEACH, "apps", "cli", "__main__")
"""Rooms from the ground up: a room imports lower rooms only. ``apps`` holds old names for one release."""
LATE = {"av", "highdicom", "itk", "mlflow", "sam2", "transformers"}
"""Imported where they are used, never when a module is read."""
HEAVY = ("torch", "torchvision", "monai", "ignite", "mlflow", "timm", "transformers")
"""Absent from the using wing."""
EXCEPTIONS = {("prediction", "reporting"): {"monai_agglo/prediction/run.py"}}
"""Arrows that run down all the same: the index page that ``predict`` writes for a folder."""


def sources():
    return sorted(PACKAGE.rglob("*.py"))


def experiments():
    return sorted((ROOT / "experiments").rglob("*.py"))


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path, lazy=True, types=False):
    """Full dotted names that a file imports; in functions too when lazy, for type checkers too when types."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    package = parts[:-1]
    pending, names = list(ast.parse(path.read_text(encoding="utf-8")).body), []
    while pending:
        node = pending.pop()
        if not types and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            names += [f"{module}.{alias.name}" for alias in node.names]
        elif lazy or isinstance(node, (ast.If, ast.Try, ast.With, ast.ClassDef)):
            pending += ast.iter_child_nodes(node)
    return names


def imported_rooms(path):
    """Rooms of our package that a file imports, anywhere in it."""
    rooms = {name.split(".")[1] for name in imports_of(path) if name.startswith("monai_agglo.")}
    return (rooms & set(ORDER)) - {room_of(path)}


def test_every_room_is_in_the_plan():
    assert {room_of(path) for path in sources()} - {"__init__"} == set(ORDER)


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_arrows_go_one_way(path):
    room = room_of(path)
    rooms = imported_rooms(path)
    if room == "__init__":
        assert rooms <= {"lazy"}
        return
    upward = {other for other in rooms if ORDER.index(other) > ORDER.index(room)}
    known = {other for other in upward if str(path.relative_to(ROOT)) in EXCEPTIONS.get((room, other), ())}
    assert upward == known, f"{room} imports {upward - known}, which lies above it"


def test_exceptions_are_not_stale():
    for (room, other), files in EXCEPTIONS.items():
        assert files == {
            str(path.relative_to(ROOT)) for path in sources() if room_of(path) == room and other in imported_rooms(path)
        }


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_the_package_imports_no_experiment(path):
    assert not [name for name in imports_of(path) if name.split(".")[0] == "experiments"]


def dotted(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {dotted(path): path for path in (*sources(), *experiments())}
FACES = {name for name, path in FILES.items() if path.name == "__init__.py"}


def behind_face(face, name):
    """Where a package's face has a name from: a file, or the face."""
    for full in imports_of(FILES[face]):
        module, _, imported = full.rpartition(".")
        if imported == name and module in FILES:
            return module
    for node in ast.walk(ast.parse(FILES[face].read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "submod_attrs":
            for module, names in ast.literal_eval(node.value).items():
                if name in names:
                    return module if module.startswith("monai_agglo.") else f"{face}.{module}"
    return face


def file_of(full):
    """The file that holds an imported name, looked for behind the faces of packages; None outside of the project."""
    module, name = full, ""
    while module and module not in FILES:
        module, _, name = module.rpartition(".")
    while module in FACES and name and (behind := behind_face(module, name)) != module:
        module = behind
    return module or None


def circle(arrows):
    """What is left when all that leads nowhere is taken away, again and again: nothing, but for circles."""
    while ends := {name for name, targets in arrows.items() if not targets & arrows.keys()}:
        arrows = {name: targets for name, targets in arrows.items() if name not in ends}
    return sorted(arrows)


def test_no_circles_between_files():
    """Also of imports in functions and for type checkers. Faces of packages are looked through."""
    arrows = {}
    for name in FILES.keys() - FACES:
        arrows[name] = {file_of(full) for full in imports_of(FILES[name], types=True)} - {name, None} - FACES
    assert not circle(arrows)


def test_circles_are_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]
    assert not circle({"a": {"b", "c"}, "b": {"c"}, "c": set()})
    assert file_of("monai_agglo.swallow.CineMeasures") == "monai_agglo.swallow.results"
    assert file_of("monai_agglo.cine.find_cases") == "monai_agglo.cine.search"  # a face that loads late
    assert file_of("monai_agglo.cine.search.find_cases") == "monai_agglo.cine.search"
    assert file_of("numpy.array") is None


TARGET = re.compile(r"monai_agglo(?:\.\w+)+")


def bundle_names():
    """Dotted names of ours in the configs of the bundles, with the config."""
    return sorted(
        {
            (name, str(path.relative_to(ROOT)))
            for path in (ROOT / "bundles").glob("*/configs/*.json")
            if path.name not in ("metadata.json", "view_check.json")
            for name in TARGET.findall(path.read_text(encoding="utf-8"))
        }
    )


def test_bundles_name_what_exists_and_public_doors():
    """Every dotted name in a config resolves, none is an old one, and each is named as its room's face does."""
    names = bundle_names()
    assert names
    for name, config in names:
        assert locate(name) is not None, f"{config}: no {name}"
        room, attribute = name.split(".")[1], name.rpartition(".")[2]
        assert room in (*BASE, *USE, *TEACH), f"{config}: {name} is not in a room that bundles stand on"
        if attribute in getattr(import_module(f"monai_agglo.{room}"), "__all__", ()):
            assert name == f"monai_agglo.{room}.{attribute}", f"{config}: say monai_agglo.{room}.{attribute}"


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_some_packages_are_imported_late(path):
    assert not {name.split(".")[0] for name in imports_of(path, lazy=False)} & LATE


IMPORT_ALL = """
import sys
from importlib import import_module
from pkgutil import walk_packages
from pydoc import locate
heavy, rooms = sys.argv[1].split(","), sys.argv[2].split(",")
for room in rooms:
    package = import_module(f"monai_agglo.{room}")
    names = [m.name for m in walk_packages(getattr(package, "__path__", []), f"monai_agglo.{room}.")]
    for name in names:
        import_module(name)
    for name in getattr(package, "__all__", ()):
        getattr(package, name)
    found = [name for name in heavy if name in sys.modules]
    assert not found, f"{room} imports {found}"
print("light")
"""


def fresh(code, *arguments, **more):
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=300, **more)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_using_wing_imports_nothing_heavy():
    assert fresh(IMPORT_ALL, ",".join(HEAVY), ",".join((*BASE, *USE, "cli")), cwd=ROOT).strip() == "light"


RUN_ALL = """
import sys
from monai_agglo.__main__ import main
if __name__ == "__main__":
    cine, masks, out = sys.argv[2:5]
    commands = [
        ["info", cine], ["predict", cine, "--output", out + "/p", "--dicom-seg"], ["measure", out + "/p"],
        ["report", cine, "--output", out + "/r", "--repeats", "1"], ["deidentify", cine, "--output", out + "/d"],
        ["datalist", out + "/data"], ["structures"],
    ]
    for command in commands:
        assert main(command) == 0, command
        found = [name for name in sys.argv[1].split(",") if name in sys.modules]
        assert not found, f"{command[0]} imports {found}"
"""


def test_commands_of_the_using_wing_import_nothing_heavy(tmp_path):
    """With the shipped bundle, on the CPU."""
    from monai_agglo.phantom import PhantomSpec, write_study

    study = write_study(PhantomSpec.sample(3, rows=128, cols=128), tmp_path / "study", frames=4)
    (tmp_path / "data").mkdir()
    shutil.copy(study.cine, tmp_path / "data" / "a.dcm")
    shutil.copy(study.masks, tmp_path / "data" / "a_masks.nii.gz")
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    fresh(RUN_ALL, ",".join(HEAVY), str(study.cine), str(study.masks), str(tmp_path), cwd=tmp_path, env=env)


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
