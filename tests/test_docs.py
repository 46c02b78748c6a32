"""The commands, code and links of the documentation.

Every command in a fenced ``bash`` block of the README, of ``docs`` and of the bundles' cards is parsed: commands of
``monai_agglo`` and ``experiments`` by their own argparse parser, ``monai.bundle run`` by MONAI's ConfigParser, so that
a wrong option, choice, file or id fails. Other programs (``pip``, ``curl``, ``bash``) are not parsed.

Commands that match ``RUN`` are executed here as they stand, in a folder with a tiny synthetic cine under the names of
the pages. All others are executed by the test that ``COVERED`` names. This file checks that the test exists and that
its code, with the functions of its file that it uses, contains the sub-command or the word given; not that its values
are those of the page.

Python blocks must parse, and names that they take from ``monai_agglo`` must exist; they are not executed. Relative
links, images and anchors must exist; addresses on the web are not visited.
"""

import argparse
import ast
import importlib
import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from documented_commands import COVERED, OURS, RUN

from monai_agglo import __main__ as cli

ROOT = Path(__file__).parents[1]
DOCS = [page for page in ROOT.glob("docs/**/*.md") if page.parent.name != "results"]
PAGES = sorted([*ROOT.glob("*.md"), *DOCS, *ROOT.glob("bundles/*/docs/*.md")])
BUNDLE = "-m monai.bundle run "


def commands_of(page):
    """Commands of a page's bash blocks, one string each, without comments and continuations."""
    found = []
    for block in re.findall(r"^ *```bash\n(.*?)^ *```", page.read_text(encoding="utf-8"), re.S | re.M):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True, posix=False)
            found += [part.strip() for part in " ".join(words).split(" && ") if part.strip()]
    return found


COMMANDS = sorted({(page.relative_to(ROOT).as_posix(), command) for page in PAGES for command in commands_of(page)})
OWN = [(page, command) for page, command in COMMANDS if re.match(OURS, command)]
EXPERIMENTS = [(page, command) for page, command in COMMANDS if command.startswith("python -m experiments.")]
BUNDLE_RUNS = [(page, command) for page, command in COMMANDS if BUNDLE in command]
HERE = list(dict.fromkeys(command for _, command in OWN if any(re.fullmatch(pattern, command) for pattern in RUN)))


def row_of(command):
    """The first row of COVERED that fits, or None."""
    return next((row for row in COVERED if re.fullmatch(row[0], command)), None)


def test_the_two_commands_stand_in_the_first_forty_lines():
    text = "\n".join((ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:40])
    assert "bash scripts/demo.sh\n" in text and "bash scripts/test.sh\n" in text


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_command_is_executed_somewhere(page, command):
    assert command in HERE or row_of(command), f"{page}: name the test that executes this: {command}"


def code_of(path, name):
    """Source of a test and of what it uses: names of its file and of the conftest.py beside it, followed on."""
    sources = {}
    for file in (path.with_name("conftest.py"), path):
        if file.is_file():
            text = file.read_text(encoding="utf-8")
            for node in ast.parse(text).body:
                names = [target.id for target in getattr(node, "targets", ()) if isinstance(target, ast.Name)]
                for key in names or [getattr(node, "name", None)]:
                    sources[key] = ast.get_source_segment(text, node)
    found, todo = {}, [name]
    while todo:
        key = todo.pop()
        if key in sources and key not in found:
            found[key] = sources[key]
            todo += re.findall(r"\w+", sources[key])
    return found


@pytest.mark.parametrize("row", COVERED, ids=lambda row: row[1])
def test_the_named_test_exists_and_contains_the_command(row):
    shown = [command for _, command in COMMANDS if command not in HERE and row_of(command) == row]
    assert shown, f"no page shows {row[0]}"
    file, name = row[1].split("::")
    code = code_of(ROOT / "tests" / file, name)
    assert name in code, f"no test {name} in tests/{file}"
    wanted = row[2:] or {shlex.split(command)[shlex.split(command).index("monai_agglo") + 1] for command in shown}
    missing = [word for word in wanted if word not in "\n".join(code.values())]
    assert not missing, f"tests/{row[1]} has no {missing}"


@pytest.mark.parametrize(("page", "command"), OWN)
def test_our_commands_parse(page, command, capsys):
    """Unknown commands, options and choices end with exit code 2; --help ends with 0."""
    words = shlex.split(command)
    try:
        cli.build_parser().parse_args(words[words.index("monai_agglo") + 1 :])
    except SystemExit as exit_:
        assert not exit_.code, f"{page}: {command}: {capsys.readouterr().err}"


class Parsed(Exception):
    """The arguments were accepted; nothing else shall be done."""


@pytest.mark.parametrize(("page", "command"), EXPERIMENTS)
def test_experiments_parse(page, command, monkeypatch, capsys):
    """The module is started as it would be, up to the end of its argument parser."""
    parse = argparse.ArgumentParser.parse_args

    def stop(self, *args, **kwargs):
        parse(self, *args, **kwargs)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    _, _, module, *options = shlex.split(command)
    monkeypatch.setattr(sys, "argv", [module, *options])
    with pytest.raises(Parsed):
        try:
            runpy.run_module(module, run_name="__main__")
        except SystemExit:
            pytest.fail(f"{page}: {command}: {capsys.readouterr().err}")


@pytest.mark.parametrize(("page", "command"), BUNDLE_RUNS)
def test_bundle_runs_name_what_exists(page, command):
    """Config files are there, and every override is an id of the config."""
    from monai_agglo.bundle.config_check import load_parser

    words = shlex.split(command[command.index("monai.bundle run") :])[2:]
    options = dict(zip(words[::2], words[1::2]))
    files = ast.literal_eval(value) if (value := options.pop("--config_file")).startswith("[") else [value]
    parser = load_parser([ROOT / file for file in files], (ROOT / files[0]).parents[1])
    unknown = [name for name in options if name.removeprefix("--") not in parser]
    assert not unknown, f"{page}: {files} has no {unknown}"


@pytest.fixture(scope="module")
def tiny_cine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "study"
    assert cli.main(["phantom", str(folder), "--seed", "7", "--frames", "4", "--size", "64"]) == 0
    return folder


@pytest.fixture
def as_on_the_pages(tiny_cine, random_bundle, tmp_path, monkeypatch):
    """A working folder in which the pages' placeholders are tiny files."""
    for name in ("FILE", "CINE.dcm", "FOLDER/cine.dcm", "STUDIES/p1/cine.dcm", "out/cine.dcm"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tiny_cine / "cine.dcm", tmp_path / name)
    shutil.copy(tiny_cine / "masks.nii.gz", tmp_path / "STUDIES/p1/masks.nii.gz")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", HERE)
def test_command_runs(command, as_on_the_pages, monkeypatch, capsys):
    words = shlex.split(command)[3:]
    if words[0] == "results":
        monkeypatch.chdir(ROOT)
    elif words[0] == "measure":
        assert cli.main(["predict", "FILE", "--output", "DIR"]) == 0
    try:
        code = cli.main(words)
    except SystemExit as exit_:
        code = exit_.code
    assert not code, capsys.readouterr().err
    assert capsys.readouterr().out


def test_every_cli_command_is_documented():
    shown = {shlex.split(command)[shlex.split(command).index("monai_agglo") + 1] for _, command in OWN}
    assert cli.COMMANDS.keys() <= shown, "a command that no page shows"


BLOCKS = [
    (page.relative_to(ROOT).as_posix(), block)
    for page in PAGES
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)
]


@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=[page for page, _ in BLOCKS])
def test_python_blocks_name_what_exists(page, block):
    """They parse; what they import from, or call of, monai_agglo exists."""
    wanted = []
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("monai"):
            wanted += [(node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "monai_agglo":
            wanted.append(("monai_agglo", node.attr))
    missing = [pair for pair in wanted if not hasattr(importlib.import_module(pair[0]), pair[1])]
    assert not missing, f"{page} uses {missing}"


def anchors_of(page):
    """Anchors that GitHub gives the headings of a page."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    titles = re.findall(r"^#+ +(.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


LINKS = [
    (page.relative_to(ROOT).as_posix(), link)
    for page in PAGES
    for pair in re.findall(r"\]\(([^)\s]+)\)|<img[^>]*src=\"([^\"]+)\"", page.read_text(encoding="utf-8"))
    for link in pair
    if link and "://" not in link
]


@pytest.mark.parametrize(("page", "link"), LINKS)
def test_links_lead_somewhere(page, link):
    path, _, anchor = link.partition("#")
    target = (ROOT / page).parent.joinpath(path) if path else ROOT / page
    assert target.exists()
    if anchor and target.suffix == ".md":
        assert anchor in anchors_of(target), f"{path or page} has no heading #{anchor}"


def test_index_links_every_page():
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    absent = [
        page for page in DOCS if page.relative_to(ROOT / "docs").as_posix() not in text and page.name != "index.md"
    ]
    assert not absent
