#!/usr/bin/env bash
# Sets up MONAI Label in an environment of its own, packs the bundles into an app for it, and starts its server, which
# only this computer can reach: it knows no passwords.
# Usage: bash scripts/monai_label.sh [STUDIES]
#   STUDIES is a folder of cines, or the address of a DICOMweb server; without it two synthetic swallows are made.
# May be set: LABEL_VENV_DIR (.venv-label), LABEL_APP_DIR (label_app: bundles and what is trained in them are kept there),
#   LABEL_PORT (8000), LABEL_BUNDLES (vfss_seg, more behind it, separated by spaces), PYTHON (3.10 to 3.12);
#   of MONAI Label itself: MONAI_LABEL_DICOMWEB_USERNAME, MONAI_LABEL_DICOMWEB_PASSWORD, and the other MONAI_LABEL_...
# shellcheck source=scripts/_python.sh
source "$(dirname "${BASH_SOURCE[0]}")/_python.sh"
[ $# -le 1 ] || fail "give one folder of cines or one DICOMweb address, not $# of them."
STUDIES="${1:-}"
case "$STUDIES" in
  "" | http://* | https://*) ;;
  *) STUDIES="$(cd "$STUDIES" 2>/dev/null && pwd)" || fail "there is no folder $1; give a folder of cines or a DICOMweb address." ;;
esac
PORT="${LABEL_PORT:-8000}"
case "$PORT" in "" | *[!0-9]*) fail "LABEL_PORT=$PORT is no port number." ;; esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/_label.sh
source scripts/_label.sh
install_label
"$LABEL_PY" - "$PORT" <<'PY' || fail "port $PORT is in use already; set LABEL_PORT to another."
import socket, sys
with socket.socket() as probe:
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(("127.0.0.1", int(sys.argv[1])))
    except (OSError, OverflowError):
        sys.exit(1)
PY

LABEL_PY="$(cd "$(dirname "$LABEL_PY")" && pwd)/$(basename "$LABEL_PY")"
APP="${LABEL_APP_DIR:-label_app}"
case "$APP" in /*) ;; *) APP="$PWD/$APP" ;; esac
own() { "$LABEL_PY" -W ignore -m monai_agglo "$@" || fail "this did not work: python -m monai_agglo $*"; }
if [ ! -f "$APP/main.py" ]; then
  step "making the app in $APP"
  SAMPLE="$("$LABEL_PY" -c 'import pathlib, sys; print(pathlib.Path(sys.prefix, "monailabel", "sample-apps", "monaibundle"))')"
  mkdir -p "$APP" && cp -R "$SAMPLE/." "$APP/" || fail "could not copy MONAI Label's sample app into $APP."
fi
BUNDLES="${LABEL_BUNDLES:-vfss_seg}"
# shellcheck disable=SC2086
NAMES="$("$LABEL_PY" -W ignore - $BUNDLES 2>/dev/null <<'PY'
import sys
from monai_agglo.bundle import find_bundle
from monai_agglo.bundle.pack import label_name
print(*(label_name(find_bundle(bundle)) for bundle in sys.argv[1:]))
PY
)" || fail "not all of these are bundles: $BUNDLES; LABEL_BUNDLES takes names under bundles/ or folders."
# shellcheck disable=SC2086
set -- $NAMES
MODELS=""
for bundle in $BUNDLES; do
  name="$1"
  shift
  if [ -d "$APP/model/$name" ]; then
    step "$APP/model/$name is used as it is (move it away to pack it anew)"
  else
    step "packing $bundle"
    own pack "$bundle" --output "$APP/model" --name "$name" --label
  fi
  MODELS="$MODELS${MODELS:+,}$name"
done
if [ -z "$STUDIES" ]; then
  STUDIES="$APP/studies"
  if [ ! -d "$STUDIES" ]; then
    step "two synthetic swallows -> $STUDIES"
    for seed in 1 2; do
      own phantom "$STUDIES.$seed" --seed "$seed" --frames 24 --syntax none >/dev/null
      mkdir -p "$STUDIES" && mv "$STUDIES.$seed/cine.dcm" "$STUDIES/swallow-$seed.dcm" && rm -rf "$STUDIES.$seed"
    done
  fi
fi

# A multi-frame DICOM file is a case of its own in a folder; on a DICOMweb server, cines are found by their modality.
export MONAI_LABEL_DATASTORE_FILE_EXT="${MONAI_LABEL_DATASTORE_FILE_EXT:-[\"*.dcm\",\"*.nii.gz\",\"*.nii\",\"*.nrrd\"]}"
export MONAI_LABEL_DICOMWEB_SEARCH_FILTER="${MONAI_LABEL_DICOMWEB_SEARCH_FILTER:-{\"Modality\":\"RF\"\}}"
PATH="$(dirname "$LABEL_PY"):$PATH"
export PATH
cd "$APP" # not here, where the clone's monai_agglo would be found before the packed one
step "starting MONAI Label at http://127.0.0.1:$PORT (Ctrl-C ends it); models: $MODELS"
# zoo_source: anything but its default, which asks a server on the internet before it looks at the folder
exec "$LABEL_PY" -W ignore -m monailabel.main start_server --app "$APP" --studies "$STUDIES" --host 127.0.0.1 --port "$PORT" \
  --conf models "$MODELS" --conf zoo_source ngc --conf sam2 false --conf use_pretrained_model false
