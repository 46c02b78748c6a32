"""Commands of the documentation: patterns of those that test_docs.py executes, and tests that execute the others."""

OURS = r"(?:python|torchrun \S+ \S+) -m monai_agglo "
SEGMENTER, DISTILLER = r".*-m monai.bundle run .*vfss_seg/configs/", r".*-m monai.bundle run .*agglo_distill/configs/"
INSTALL = "test_environment.py::test_installation_steps_are_the_script_s_and_in_its_order"
TEACHER = "bundles/test_teacher_bundles.py::"
DISTIL = "bundles/test_agglo_distill.py::"
LABEL = "label/test_monai_label.py::"

RUN = (
    OURS + r"(--help|structures|results --check|info .*|datalist STUDIES|deidentify .*)",
    OURS + r"predict FILE --output DIR",
    OURS + r"report (FILE|CINE.dcm|FOLDER) --output DIR",
    OURS + r"measure DIR",
)

# a command, the test that executes it, and what that test's code must contain (default: our sub-command)
COVERED = (
    (
        r"(\w+=\S+ )*bash scripts/(test|demo)\.sh.*",
        "test_environment.py::test_script_installs_in_the_same_order",
        "_install.sh",
    ),
    (r"python3 -m venv \.venv|source \.venv/bin/activate", INSTALL, "STEPS"),
    (r"(SAM2_BUILD_CUDA=0 )?pip (install|wheel) .*", INSTALL, "STEPS"),
    (OURS + r"doctor", "bundle/test_doctor.py::test_shipped_bundle_is_whole", "doctor"),
    (OURS + r"doctor DIR --schema SCHEMA", "bundle/test_doctor.py::test_schema", "schema"),
    (OURS + r"results", "bundle/test_results.py::test_publish_writes_metadata_and_tables", "publish"),
    (OURS + r"datalist DIR( --structures .*)?", "cine/test_datalist.py::test_command"),
    (OURS + r"phantom \w+ --patients .*", "test_cli.py::test_phantom_data_set"),
    (OURS + r"phantom \w+ --seed .*", "test_cli.py::test_phantom_study"),
    (OURS + r"calibrate_view .*", "prediction/test_view_check.py::test_calibration_writes_a_rule_with_its_origin"),
    (
        OURS + r"(weights|doctor --teacher) resnet18.*",
        "bundle/test_doctor_teacher.py::test_the_documented_example",
        "resnet18",
    ),
    (
        OURS + r"weights \w+( --model-pt bundles/\S+)?",
        TEACHER + "test_published_weights_make_model_pt_that_label_can_use",
    ),
    (OURS + r"cache CACHE .*", "data/test_cache_command.py::test_command"),
    (OURS + r"distill IMAGES .*", "distill/test_agglomerate.py::test_command_writes_the_same_files"),
    (OURS + r"export-student .*", "bundle/test_export_student.py::test_command_and_several_students"),
    (OURS + r"probe-student DIR.*", "distill/test_student_probe.py::test_command"),
    (
        OURS + r"ship-student \S+",
        "experiments/agglo_study/test_study_shipping.py::test_a_finished_study_ships_its_student",
    ),
    (
        OURS + r"predict SOURCE --follow .*",
        "prediction/live/test_follow_video.py::test_command_line_and_a_kill_leaves_nothing_that_looks_whole",
        "--follow",
    ),
    (
        OURS + r"predict FOLDER .* --engine pool .*",
        "prediction/many/test_scale_out.py::test_command_line_on_the_pool",
        "pool",
    ),
    (
        OURS + r"predict FOLDER .* --engine ray .*",
        "prediction/many/test_scale_out_ray.py::test_a_killed_worker_s_cine_is_taken_over_on_ray",
        "ray",
    ),
    (OURS + r"predict https://.* --query .*", "prediction/many/web_cases.py::test_query_of_a_pacs", "query"),
    (OURS + r"predict (FILE|out/cine.dcm) --output .*", "prediction/test_prediction.py::test_command_line"),
    (OURS + r"export vfss_seg .*--int8 .*", "bundle/test_exporting.py::test_int8_says_what_it_loses", "int8"),
    (OURS + r"export vfss_seg --format ts .*", "bundle/test_exporting.py::test_every_format_agrees", "export"),
    (OURS + r"serve --config FILE", "pacs/orthanc_cases.py::test_serve_round_trip"),
    (OURS + r"serve .* --retry-failed", "node/test_spool.py::test_retry_of_refused_and_failed_objects", "retry"),
    (OURS + r"(fetch|send) .*", "pacs/orthanc_cases.py::test_store_fetch_query"),
    (OURS + r"pack vfss_seg --output DIR", "bundle/test_pack.py::test_command"),
    (
        OURS + r"report (CINE\.dcm|out/cine.dcm) --output .*",
        "reporting/test_report_run.py::test_corrected_events_recompute_the_measures",
    ),
    (
        r"python -m experiments.costs.cache_benchmark IMAGES",
        "data/test_cache_command.py::test_benchmark_in_small",
        "cache_benchmark",
    ),
    (
        r"python -m experiments.costs.balancer_overhead",
        "losses/balancers/test_overhead.py::test_benchmark_in_small",
        "balancer_overhead",
    ),
    (
        r"python -m experiments.costs.student_cost",
        "engines/test_student_cost.py::test_benchmark_in_small",
        "student_cost",
    ),
    (
        r"python -m experiments.costs.scale_out_cost",
        "prediction/many/test_scale_out_cost.py::test_measuring_in_small",
        "scale_out_cost",
    ),
    (
        r"python -m experiments.agglo_study.*",
        "experiments/agglo_study/test_study_runner.py::test_command",
        "agglo_study",
    ),
    (
        r"python -m experiments.benchmark.*",
        "experiments/benchmark/test_bench_run.py::test_command",
        "experiments.benchmark",
    ),
    (
        SEGMENTER + r"train.json( --(dataset_dir|output_dir|epochs) \w+)*",
        "bundles/test_vfss_seg.py::test_train_from_the_bundle_s_folder_on_partial_labels",
        "train",
    ),
    (
        SEGMENTER + r"train.json --encoder \S+",
        "bundle/test_export_student.py::test_a_segmenter_starts_from_it",
        "encoder",
    ),
    (
        SEGMENTER + r"train.json( --resume True|','\S+/from_scratch.json'\]\")",
        "bundles/test_resume.py::test_killed_and_resumed_equals_uninterrupted",
        "resume",
    ),
    (
        SEGMENTER + r".*/from_scratch.json'\]\" --start_from_weights True .*",
        "bundles/test_vfss_seg.py::test_going_on_from_the_shipped_weights",
        "start_from_weights",
    ),
    (SEGMENTER + r"inference.json .*", "bundles/test_vfss_seg.py::test_inference", "inference"),
    (
        SEGMENTER + r"train.json','\S+/evaluate.json'\]\"",
        "bundles/test_evaluate.py::test_report_has_the_agreed_form",
        "evaluate",
    ),
    (
        r"torchrun " + SEGMENTER + r".*multi_gpu_\w+.json'\]\"",
        "bundles/test_evaluate.py::test_two_processes",
        "torchrun",
    ),
    (r"python -m monai.bundle ckpt_export .*", "bundles/test_metadata.py::test_torchscript_export", "ckpt_export"),
    (
        r"cp -R bundles/vfss_seg my_bundle|cp \S+/model.pt my_bundle/models/model.pt",
        "bundle/test_doctor.py::test_shipped_bundle_is_whole",
        "vfss_seg",
    ),
    (
        r".*-m monai.bundle run .*_teacher/configs/inference.json .* --(box|foreground) .*",
        TEACHER + "test_box_gives_a_mask",
        "box",
    ),
    (
        r".*-m monai.bundle run .*_teacher/configs/(features|inference).json --dataset_dir DATA .*",
        TEACHER + "test_features_and_pictures",
        "features",
    ),
    (DISTILLER + r"train.json", DISTIL + "test_train_writes_a_student_and_tracks_it", "train"),
    (DISTILLER + r"train.json --resume True", DISTIL + "test_killed_and_resumed_equals_uninterrupted", "resume"),
    (DISTILLER + r"inference.json --dataset_dir FILE --output_dir DIR", DISTIL + "test_inference", "inference"),
    (
        DISTILLER + r"train.json','\S+/evaluate.json'\]\"",
        DISTIL + "test_evaluate_reports_the_same_retention",
        "evaluate",
    ),
    (r"torchrun " + DISTILLER + r".*multi_gpu_train.json'\]\"", DISTIL + "test_two_processes", "torchrun"),
    (DISTILLER + r"prompt.json .* --box .*", "bundles/test_splice.py::test_masks_come_to_be_the_teacher_s", "prompt"),
    (DISTILLER + r".*/(proxy|from_proxy).json'\]\"", "bundles/test_proxy.py::test_proxy_route", "proxy"),
    (
        SEGMENTER + r".*/decoder.json'\]\" --dataset_dir \w+",
        "bundles/test_decoder_stage.py::test_decoder_stage",
        "decoder",
    ),
    # conftest.py of tests/label starts its server with this script
    (
        r"(LABEL\S+=.+ )?bash scripts/monai_label.sh STUDIES",
        LABEL + "test_info_shows_the_structures_and_what_takes_prompts",
        "info",
    ),
    (
        r"MONAI_LABEL_\S+ MONAI_LABEL_\S+ bash scripts/monai_label.sh http\S+",
        "label/test_label_dicomweb.py::test_label_over_a_pacs",
        "orthanc",
    ),
    (r"curl .*train.*", LABEL + "test_an_edited_label_trains_the_bundle", "train"),
    (r"curl (?!.*train).*", LABEL + "test_documented_calls", "curl"),
    (r"bash scripts/orthanc.sh COMMAND", "pacs/test_orthanc.py::test_round_trip", "orthanc"),
)
