"""The command line: quick help, one sentence for bad input, the right exit codes."""

import json
import re
import subprocess
import sys

import pytest

from monai_agglo import __main__ as cli
from monai_agglo import __version__


def run(*args, **options):
    command = [sys.executable, "-m", "monai_agglo", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def test_help_names_every_command():
    result = run("--help")
    assert result.returncode == 0
    assert all(re.search(rf"^    {name}\b", result.stdout, re.M) for name in cli.COMMANDS)


def test_help_imports_nothing_heavy():
    script = "import sys; sys.argv[1:] = ['--help']\n" + (
        "try:\n    import runpy; runpy.run_module('monai_agglo', run_name='__main__')\n"
        "except SystemExit: pass\nprint(*sorted({'torch', 'monai', 'numpy', 'pydicom'} & set(sys.modules)), 'end')"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.stdout.splitlines()[-1].strip() == "end"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_each_command_has_help(name, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main([name, "--help"])
    assert exit_.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert " ".join(cli.COMMANDS[name].__doc__.split()) in text


def test_version(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize("args", [[], ["swallow"], ["predict"], ["predict", "x.dcm"], ["doctor", "--nonsense"]])
def test_wrong_usage_is_2(args, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(args)
    assert exit_.value.code == 2
    assert "error:" in capsys.readouterr().err


def one_sentence(captured):
    (line,) = captured.err.strip().splitlines()
    assert line.startswith("error: ")
    assert "Traceback" not in captured.err and "unexpected" not in line
    return line


@pytest.mark.parametrize("command", ["predict", "info"])
def test_absent_file_is_one_sentence(command, tmp_path, capsys):
    output = tmp_path / "out"
    options = ["--output", str(output)] if command == "predict" else []
    assert cli.main([command, str(tmp_path / "absent.dcm"), *options]) == 2
    assert "absent.dcm" in one_sentence(capsys.readouterr())
    assert not output.exists()


@pytest.mark.parametrize("command", ["predict", "info"])
def test_not_an_image_is_one_sentence(command, tmp_path, capsys):
    source, output = tmp_path / "notes.dcm", tmp_path / "out"
    source.write_text("these are notes\n")
    options = ["--output", str(output)] if command == "predict" else []
    assert cli.main([command, str(source), *options]) == 2
    one_sentence(capsys.readouterr())
    assert not output.exists()


def test_unknown_bundle_is_one_sentence(capsys):
    assert cli.main(["doctor", "no_such_bundle"]) == 2
    assert "no bundle 'no_such_bundle'" in one_sentence(capsys.readouterr())


def test_debug_shows_the_traceback():
    result = run("doctor", "no_such_bundle", "--debug")
    assert result.returncode == 1 and "Traceback" in result.stderr
    result = run("doctor", "no_such_bundle")
    assert result.returncode == 2 and "Traceback" not in result.stderr


def test_a_bug_is_named_and_not_hidden(monkeypatch, capsys):
    def broken(parser):
        """Broken."""
        return lambda args: {}["absent"]

    monkeypatch.setitem(cli.COMMANDS, "broken", broken)
    assert cli.main(["broken"]) == 2
    assert "unexpected KeyError: 'absent' (run again with --debug" in capsys.readouterr().err
    with pytest.raises(KeyError):
        cli.main(["--debug", "broken"])


def test_interrupt_is_130(monkeypatch, capsys):
    def interrupted(parser):
        """Interrupted."""

        def call(args):
            raise KeyboardInterrupt

        return call

    monkeypatch.setitem(cli.COMMANDS, "interrupted", interrupted)
    assert cli.main(["interrupted"]) == 130


def test_structures_lists_the_table(capsys):
    from monai_agglo.swallow import STRUCTURES

    assert cli.main(["structures"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == [s.name for s in STRUCTURES]


def test_doctor_on_the_shipped_bundle(capsys):
    assert cli.main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} <= {"ok", "warn"}
    assert any("fit the network" in line for line in lines)


def test_phantom_study(tmp_path, capsys):
    options = ["--seed", "7", "--view", "ap", "--frames", "3", "--size", "96", "--syntax", "rle"]
    assert cli.main(["phantom", str(tmp_path / "one"), *options]) == 0
    written = capsys.readouterr().out.split()
    assert [path.rsplit("/", 1)[-1] for path in written] == ["cine.dcm", "masks.nii.gz", "truth.json"]
    assert cli.main(["info", written[0], "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["shape"] == [96, 96, 3] and facts["modality"] == "RF"


def test_phantom_data_set(tmp_path, capsys):
    options = ["--patients", "2", "--seed", "1", "--frames", "2", "--size", "64", "--processes", "1"]
    assert cli.main(["phantom", str(tmp_path), *options]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "datalist.json")
    content = json.loads((tmp_path / "datalist.json").read_text(encoding="utf-8"))
    cases = [item for part in ("training", "validation", "test") for item in content[part]]
    assert len({item["patient_id"] for item in cases}) == 2
    assert all((tmp_path / item[key]).is_file() for item in cases for key in ("image", "label"))
    assert cli.main(["phantom", str(tmp_path), "--patients", "2", "--seed", "2"]) == 2
    one_sentence(capsys.readouterr())
