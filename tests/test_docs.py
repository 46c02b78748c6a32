"""Every command that the documentation shows is run by a test, and every link leads somewhere.

A fenced ``bash`` block is split into commands. Each must match one row of ``COVERED``, which names the test that
runs it (or the same with smaller numbers); commands of ours are parsed as well, so that a renamed option is found.
"""

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from monai_agglo import __main__ as cli

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("bundles/*/docs/*.md")])
HERE = "test_docs.py::test_command_runs"
VIEW = "prediction/test_view_check.py::test_calibration_writes_a_rule_with_its_origin"
INSTALL = "test_environment.py::test_installation_steps_are_the_script_s_and_in_its_order"
RUN = "python -m monai.bundle run --config_file bundles/vfss_seg/configs/"
RUN_TWO = RUN.replace("bundles/", r"\"\['bundles/vfss_seg/configs/train.json','bundles/")
TRAIN = "test_train_from_the_bundle_s_folder_on_partial_labels"
RESUME = "test_killed_and_resumed_equals_uninterrupted"
TWO = "bundles/test_evaluate.py::test_two_processes"
EXPORT = "test_torchscript_export"
EXAMPLE = "test_the_documented_example"
DISTIL = RUN.replace("vfss_seg", "agglo_distill")
DISTIL_TWO = RUN_TWO.replace("vfss_seg", "agglo_distill")
DISTIL_TEST = "bundles/test_agglo_distill.py::"
TEACHER = RUN.replace("vfss_seg", r"\w+_teacher")
TEACHER_TEST = "bundles/test_teacher_bundles.py::"
LABEL = "test_published_weights_make_model_pt_that_label_can_use"
LABEL_TEST = "label/test_monai_label.py::"
COPY = "test_shipped_bundle_is_whole"
BACK = "test_refused_and_failed_go_back_on_request"

MANY = "prediction/many/test_scale_out.py::test_command_line_on_the_pool"
TAKEN = "test_a_killed_worker_s_cine_is_taken_over_on_ray"

COVERED = (
    # scripts/test.sh is what runs these tests, scripts/_install.sh its first part
    (r"(\w+=\S+ )*bash scripts/(test|demo)\.sh.*", "test_environment.py::test_script_installs_in_the_same_order"),
    (r"python3 -m venv \.venv|source \.venv/bin/activate", INSTALL),
    (r"(SAM2_BUILD_CUDA=0 )?pip (install|wheel) .*", INSTALL),
    (r"python -m monai_agglo (--help|structures|doctor)", HERE),
    (r"python -m monai_agglo doctor DIR --schema SCHEMA", "bundle/test_doctor.py::test_schema"),
    (r"python -m monai_agglo results.*", "bundle/test_results.py::test_publish_writes_metadata_and_tables"),
    (r"python -m monai_agglo info FILE", "cine/test_info.py::test_table"),
    (r"python -m monai_agglo datalist \w+", "cine/test_datalist.py::test_command"),
    (r"python -m monai_agglo datalist \w+ --structures .*", "cine/test_datalist.py::test_partial_labels"),
    (r"python -m monai_agglo phantom \w+ --patients .*", "test_cli.py::test_phantom_data_set"),
    (r"python -m monai_agglo phantom \w+ --seed .*", "test_cli.py::test_phantom_study"),
    (
        r"python -m monai_agglo calibrate_view .*",
        VIEW,
    ),
    (RUN + r"train.json( --(dataset_dir|output_dir|epochs) \w+)*", "bundles/test_vfss_seg.py::" + TRAIN),
    (RUN + r"train.json --resume True", "bundles/test_resume.py::" + RESUME),
    (RUN_TWO + r"from_scratch.json'\]\"", "bundles/test_student_start.py::test_from_scratch_starts_from_the_student"),
    (
        RUN_TWO + r"from_scratch.json'\]\" --start_from_weights True .*",
        "bundles/test_vfss_seg.py::test_going_on_from_the_shipped_weights",
    ),
    (RUN + r"inference.json --dataset_dir FILE --output_dir DIR", "bundles/test_vfss_seg.py::test_inference"),
    (RUN_TWO + r"evaluate.json'\]\"", "bundles/test_evaluate.py::test_report_has_the_agreed_form"),
    (r"torchrun .*" + RUN_TWO.removeprefix("python ") + r"multi_gpu_train.json'\]\"", TWO),
    (r"torchrun .*" + RUN_TWO.removeprefix("python ") + r"evaluate.json','\S+/multi_gpu_evaluate.json'\]\"", TWO),
    (r"python -m monai_agglo (weights|doctor --teacher) resnet18.*", "bundle/test_doctor_teacher.py::" + EXAMPLE),
    (r"(python|torchrun \S+ \S+) -m monai_agglo cache CACHE .*", "data/test_cache_command.py::test_command"),
    (r"python -m experiments.costs.cache_benchmark IMAGES", "data/test_cache_command.py::test_benchmark_in_small"),
    (r"python -m experiments.costs.balancer_overhead", "losses/balancers/test_overhead.py::test_benchmark_in_small"),
    (r"python -m experiments.costs.student_cost", "engines/test_student_cost.py::test_benchmark_in_small"),
    (r"python -m experiments.agglo_study.*", "experiments/agglo_study/test_study_runner.py::test_command"),
    (r"python -m monai.bundle ckpt_export .*", "bundles/test_metadata.py::" + EXPORT),
    (r"cp -R bundles/vfss_seg my_bundle|cp \S+/model.pt my_bundle/models/model.pt", "bundle/test_doctor.py::" + COPY),
    (TEACHER + r"inference.json .* --(box|foreground) .*", TEACHER_TEST + "test_box_gives_a_mask"),
    (TEACHER + r"(features|inference).json --dataset_dir DATA .*", TEACHER_TEST + "test_features_and_pictures"),
    (r"python -m monai_agglo weights \w+ --model-pt bundles/\S+", TEACHER_TEST + LABEL),
    (DISTIL + r"train.json", DISTIL_TEST + "test_train_writes_a_student_and_tracks_it"),
    (DISTIL + r"train.json --resume True", DISTIL_TEST + RESUME),
    (DISTIL + r"inference.json --dataset_dir FILE --output_dir DIR", DISTIL_TEST + "test_inference"),
    (DISTIL_TWO + r"evaluate.json'\]\"", DISTIL_TEST + "test_evaluate_reports_the_same_retention"),
    (
        r"torchrun .*" + DISTIL_TWO.removeprefix("python ") + r"multi_gpu_train.json'\]\"",
        DISTIL_TEST + "test_two_processes",
    ),
    (
        r"python -m monai_agglo distill IMAGES --teachers .* --output DIR",
        "distill/test_agglomerate.py::test_command_writes_the_same_files",
    ),
    (
        r"python -m monai_agglo export-student \S+ \S+",
        "bundle/test_export_student.py::test_command_and_several_students",
    ),
    (r"python -m monai_agglo probe-student DIR.*", "distill/test_student_probe.py::test_command"),
    (
        r"python -m monai_agglo ship-student \S+",
        "experiments/agglo_study/test_study_shipping.py::test_a_finished_study_ships_its_student",
    ),
    (
        r"python -m monai_agglo export-student \S+ \S+ --keep litemedsam",
        "bundles/test_splice.py::test_masks_come_to_be_the_teacher_s",
    ),
    (DISTIL + r"prompt.json .* --box .*", "bundles/test_splice.py::test_masks_come_to_be_the_teacher_s"),
    (DISTIL_TWO + r"(proxy|from_proxy).json'\]\"", "bundles/test_proxy.py::test_proxy_route"),
    (
        RUN_TWO.replace("','bundles/vfss_seg", "','bundles/agglo_distill") + r"decoder.json'\]\" --dataset_dir \w+",
        "bundles/test_decoder_stage.py::test_decoder_stage",
    ),
    (RUN + r"train.json --encoder \S+", "bundle/test_export_student.py::test_a_segmenter_starts_from_it"),
    (
        r"python -m monai_agglo predict SOURCE --follow .*",
        "prediction/live/test_follow_video.py::test_command_line_and_a_kill_leaves_nothing_that_looks_whole",
    ),
    (r"python -m monai_agglo predict FOLDER .* --engine pool .*", MANY),
    (r"python -m monai_agglo predict FOLDER .* --engine ray .*", "prediction/many/test_scale_out_ray.py::" + TAKEN),
    (r"python -m monai_agglo predict https://.* --query .*", "apps/scale_out/web_cases.py::test_query_of_a_pacs"),
    (r"python -m experiments.costs.scale_out_cost", "prediction/many/test_scale_out_cost.py::test_measuring_in_small"),
    (r"python -m monai_agglo predict FILE --output DIR.*", "prediction/test_prediction.py::test_command_line"),
    (r"python -m monai_agglo export vfss_seg .*--int8 .*", "bundle/test_exporting.py::test_int8_says_what_it_loses"),
    (r"python -m monai_agglo export vfss_seg --format ts .*", "bundle/test_exporting.py::test_every_format_agrees"),
    (r"python -m monai_agglo serve --config FILE", "apps/orthanc_cases.py::test_serve_round_trip"),
    (r"python -m monai_agglo serve .* --retry-failed", "node/test_spool.py::" + BACK),
    (r"python -m monai_agglo (fetch|send) .*", "apps/orthanc_cases.py::test_store_fetch_query"),
    (r"python -m monai_agglo pack vfss_seg --output DIR", "bundle/test_pack.py::test_command"),
    # conftest.py of tests/label starts its server with this script
    (
        r"(LABEL\S+=.+ )?bash scripts/monai_label.sh STUDIES",
        LABEL_TEST + "test_info_shows_the_structures_and_what_takes_prompts",
    ),
    (
        r"MONAI_LABEL_\S+ MONAI_LABEL_\S+ bash scripts/monai_label.sh http\S+",
        "label/test_label_dicomweb.py::test_label_over_a_pacs",
    ),
    (r"curl .*train.*", LABEL_TEST + "test_an_edited_label_trains_the_bundle"),
    (r"curl (?!.*train).*", LABEL_TEST + "test_documented_calls"),
    (r"bash scripts/orthanc.sh COMMAND", "pacs/test_orthanc.py::test_round_trip"),
    (
        r"python -m monai_agglo report (CINE\.dcm|FOLDER) --output DIR.*",
        "reporting/test_report_run.py::test_corrected_events_recompute_the_numbers",
    ),
    (r"python -m monai_agglo measure DIR", "reporting/test_measure_command.py::test_command"),
    (r"python -m experiments.benchmark.*", "experiments/benchmark/test_bench_run.py::test_command"),
    (
        r"python -m monai_agglo deidentify FOLDER --output DIR",
        "dicom/test_deidentification.py::test_folder_goes_on_and_says_what_it_left_out",
    ),
)


def commands_of(page):
    """Commands of a page's bash blocks, one string each, without comments and continuations."""
    found = []
    for block in re.findall(r"^```bash\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True, posix=False)
            found += [part.strip() for part in " ".join(words).split(" && ") if part.strip()]
    return found


COMMANDS = [(page.relative_to(ROOT).as_posix(), command) for page in PAGES for command in commands_of(page)]


def test_there_are_commands():
    assert ("README.md", "bash scripts/demo.sh") in COMMANDS and ("README.md", "bash scripts/test.sh") in COMMANDS


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_command_is_covered(page, command):
    tests = [test for pattern, test in COVERED if re.fullmatch(pattern, command)]
    assert tests, f"{page}: name the test that runs this: {command}"


@pytest.mark.parametrize(("pattern", "test"), COVERED)
def test_covering_test_exists_and_is_needed(pattern, test):
    file, name = test.split("::")
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert name in functions, f"no test {name} in tests/{file}"
    assert any(re.fullmatch(pattern, command) for _, command in COMMANDS), f"no page shows {pattern}"


OURS = [(page, command) for page, command in COMMANDS if command.startswith("python -m monai_agglo")]


@pytest.mark.parametrize(("page", "command"), OURS)
def test_our_commands_parse(page, command, capsys):
    """Unknown commands and options end with exit code 2; --help ends with 0."""
    try:
        cli.build_parser().parse_args(shlex.split(command)[3:])
    except SystemExit as exit_:
        assert not exit_.code, f"{page}: {command}: {capsys.readouterr().err}"


QUICK = sorted({command for _, command in OURS if any(re.fullmatch(p, command) and t == HERE for p, t in COVERED)})


@pytest.mark.parametrize("command", QUICK)
def test_command_runs(command, tmp_path):
    result = subprocess.run([sys.executable, *shlex.split(command)[1:]], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout


BUNDLE_RUNS = [(page, command) for page, command in COMMANDS if "monai.bundle run" in command]


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


def test_every_cli_command_is_documented():
    shown = {shlex.split(command)[3] for _, command in OURS}
    assert cli.COMMANDS.keys() <= shown, "a command that no page shows"


LINKS = [
    (page.relative_to(ROOT).as_posix(), link)
    for page in PAGES
    for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)|<img[^>]*src=\"([^\"]+)\"", page.read_text(encoding="utf-8"))
    for link in link
    if link and "://" not in link
]


@pytest.mark.parametrize(("page", "link"), LINKS)
def test_links_lead_somewhere(page, link):
    assert (ROOT / page).parent.joinpath(link).exists()
