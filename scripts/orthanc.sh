#!/usr/bin/env bash
# Starts Debian's Orthanc with its DICOMweb plugin for tests and trials, runs a command beside it, and removes both.
# Usage: bash scripts/orthanc.sh COMMAND...        (without a command: runs until interrupted)
#
# The store is thrown away at the end, a password is made up, and only the AE titles below may connect. Debian's Orthanc
# listens on every interface, whatever its settings say, so it runs in a network namespace of its own where the computer
# allows that; the command runs in there too. It finds these variables:
#   ORTHANC_URL (DICOMweb), ORTHANC_REST, ORTHANC_USER, AGGLO_PACS_PASSWORD, ORTHANC_TITLE, ORTHANC_PORT,
#   ORTHANC_PEERS: "TITLE:PORT ..." that Orthanc knows at 127.0.0.1 and may send to.
set -euo pipefail

fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

ORTHANC="$(command -v Orthanc || echo /usr/sbin/Orthanc)"
[ -x "$ORTHANC" ] || fail "Orthanc is not installed (Debian, Ubuntu: apt install orthanc orthanc-dicomweb)."
PLUGIN="${ORTHANC_DICOMWEB:-/usr/share/orthanc/plugins/libOrthancDicomWeb.so}"
[ -e "$PLUGIN" ] || fail "Orthanc's DICOMweb plugin is not at $PLUGIN (Debian, Ubuntu: apt install orthanc-dicomweb)."

if [ -z "${ORTHANC_INSIDE:-}" ]; then
  export ORTHANC_INSIDE=1
  for way in "unshare --net" "unshare --map-root-user --net"; do
    # shellcheck disable=SC2086
    if $way ip link set lo up >/dev/null 2>&1; then
      exec $way bash -c 'ip link set lo up && exec bash "$@"' orthanc "${BASH_SOURCE[0]}" "$@"
    fi
  done
  echo "warning: no network namespace can be made here, so Orthanc listens on every interface (with a password)" >&2
fi

FOLDER="$(mktemp -d)"
SERVER=""
clean() {
  if [ -n "$SERVER" ]; then kill "$SERVER" 2>/dev/null || true; wait "$SERVER" 2>/dev/null || true; fi
  rm -rf "$FOLDER"
}
trap clean EXIT
trap 'exit 130' INT TERM

HTTP="${ORTHANC_HTTP_PORT:-8042}"
export ORTHANC_PORT="${ORTHANC_PORT:-4242}" ORTHANC_TITLE=ORTHANC ORTHANC_USER=tester
export ORTHANC_REST="http://127.0.0.1:$HTTP" ORTHANC_URL="http://127.0.0.1:$HTTP/dicom-web"
export ORTHANC_PEERS="${ORTHANC_PEERS:-AGGLO:11112 FETCH:11113}"
AGGLO_PACS_PASSWORD="$(head -c 24 /dev/urandom | base64 | tr -d '/+=')"
export AGGLO_PACS_PASSWORD
MODALITIES=""
for peer in $ORTHANC_PEERS; do
  MODALITIES="$MODALITIES${MODALITIES:+, }\"${peer%%:*}\": [\"${peer%%:*}\", \"127.0.0.1\", ${peer##*:}]"
done

(umask 077 && cat >"$FOLDER/orthanc.json" <<JSON
{
  "Name": "throw-away", "StorageDirectory": "$FOLDER/store", "IndexDirectory": "$FOLDER/store",
  "Plugins": ["$PLUGIN"], "HttpPort": $HTTP, "DicomPort": $ORTHANC_PORT, "DicomAet": "$ORTHANC_TITLE",
  "DicomCheckCalledAet": true, "DicomCheckModalityHost": true, "DicomModalities": {$MODALITIES},
  "DicomAlwaysAllowEcho": false, "DicomAlwaysAllowStore": false, "DicomAlwaysAllowFind": false,
  "DicomAlwaysAllowMove": false, "UnknownSopClassAccepted": true,
  "RemoteAccessAllowed": false, "AuthenticationEnabled": true, "HttpCompressionEnabled": false,
  "RegisteredUsers": {"$ORTHANC_USER": "$AGGLO_PACS_PASSWORD"},
  "DicomWeb": {"Enable": true, "Root": "/dicom-web/"}
}
JSON
)
"$ORTHANC" "$FOLDER/orthanc.json" >"$FOLDER/log" 2>&1 &
SERVER=$!
ready() { # asks with the password, which must not stand in a command line
  python3 - <<'PY'
import base64, os, sys, urllib.request
login = f"{os.environ['ORTHANC_USER']}:{os.environ['AGGLO_PACS_PASSWORD']}".encode()
request = urllib.request.Request(os.environ["ORTHANC_REST"] + "/system")
request.add_header("Authorization", "Basic " + base64.b64encode(login).decode())
try:
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5).read()
except OSError:
    sys.exit(1)
PY
}
for _ in $(seq 1 120); do
  if ready; then break; fi
  kill -0 "$SERVER" 2>/dev/null || { tail -5 "$FOLDER/log" >&2; fail "Orthanc did not start; its last lines are above."; }
  sleep 0.5
done
ready || fail "Orthanc did not answer within a minute."

if [ $# -gt 0 ]; then
  "$@"
else
  echo "Orthanc runs at $ORTHANC_REST (user $ORTHANC_USER, password $AGGLO_PACS_PASSWORD) until you press Ctrl-C"
  echo "DICOM: $ORTHANC_TITLE at port $ORTHANC_PORT; it knows $ORTHANC_PEERS at 127.0.0.1"
  echo "in its own network namespace: nsenter --target $SERVER --user --net --preserve-credentials COMMAND"
  wait "$SERVER"
fi
