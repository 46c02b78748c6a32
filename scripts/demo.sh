#!/usr/bin/env bash
# The whole path once: installs into .venv, makes a synthetic DICOM swallow, trains the bundle for a short while on the
# embedded data, segments the swallow with what was trained, and says where to look.
# Usage: bash scripts/demo.sh        (VENV_DIR and PYTHON are honoured, OUTPUT=demo_output is where results go)
WITH_TESTS=""
# shellcheck source=scripts/_install.sh
source "$(dirname "${BASH_SOURCE[0]}")/_install.sh"
OUTPUT="${OUTPUT:-demo_output}"
begin=$SECONDS

run() { "$PY" -W ignore -m "$@" || fail "this did not work: python -m $*"; }

step "a synthetic swallow of a patient that the training has not seen -> $OUTPUT/study"
run monai_agglo phantom "$OUTPUT/study" --seed 20259

step "training the bundle for a short while, from the shipped weights -> $OUTPUT/train"
run monai.bundle run --config_file bundles/vfss_seg/configs/train.json --output_dir "$OUTPUT/train" --epochs 1

step "a bundle with what was trained -> $OUTPUT/vfss_seg"
rm -rf "$OUTPUT/vfss_seg" && mkdir -p "$OUTPUT/vfss_seg/models"
cp -R bundles/vfss_seg/LICENSE bundles/vfss_seg/configs bundles/vfss_seg/docs "$OUTPUT/vfss_seg/"
cp "$OUTPUT/train/model.pt" "$OUTPUT/vfss_seg/models/model.pt"

step "segmenting the swallow with it -> $OUTPUT/result"
run monai_agglo predict "$OUTPUT/study/cine.dcm" --output "$OUTPUT/result" --bundle "$OUTPUT/vfss_seg"

step "done in $((SECONDS - begin)) s after the installation. Look at"
for name in contact_sheet.png overlay.mp4 masks.nii.gz predict.json; do printf '    %s\n' "$OUTPUT/result/$name"; done
printf 'Your own file:\n    %s -m monai_agglo predict FILE --output DIR\n' "$PY"
