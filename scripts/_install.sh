# Sourced by demo.sh and test.sh: makes the virtual environment and installs the package into it, once.
# Before sourcing, WITH_TESTS=1 asks for the test tools too. Afterwards $PY is the environment's Python.
# VENV_DIR (default .venv) and PYTHON (default: the first python >= 3.10 found) may be set by the caller.
# shellcheck source=scripts/_python.sh
source "$(dirname "${BASH_SOURCE[0]}")/_python.sh"

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$ROOT"
VENV_DIR="${VENV_DIR:-.venv}"

make_venv "$VENV_DIR"
PY="$(python_of "$VENV_DIR")"

# Anything that changes what is installed changes the stamp: the dependencies, these steps, and where the clone lies.
fingerprint() {
  { cat pyproject.toml setup.py scripts/_install.sh scripts/_python.sh; pwd; } |
    "$PY" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())'
}

STAMP="$VENV_DIR/.installed"
WANT="$(fingerprint)"
if [ -n "${WITH_TESTS:-}" ]; then EXTRAS="[test]"; else EXTRAS="[train,teachers,itk]"; fi
HAVE="$(cat "$STAMP" 2>/dev/null || true)"
if [ "$HAVE" = "$WANT [test]" ] || [ "$HAVE" = "$WANT $EXTRAS" ]; then
  step "$VENV_DIR is up to date"
else
  # torch first and with the torchvision that matches it; sam2 builds against that torch, hence no build isolation.
  install "torch and torchvision (a large download the first time)" torch torchvision "setuptools>=77" wheel
  export SAM2_BUILD_CUDA=0
  install "sam2" --no-build-isolation sam2==1.1.0
  install "monai-agglo$EXTRAS and its dependencies" --no-build-isolation -e ".$EXTRAS"
  "$PY" -c 'import torchvision, sam2, monai_agglo' ||
    fail "the installation in $VENV_DIR does not import; delete that folder and run this again."
  printf '%s %s\n' "$WANT" "$EXTRAS" >"$STAMP.part" && mv "$STAMP.part" "$STAMP"
fi

# Servers and tools that some tests talk to; those tests are skipped where they are missing. For throw-away computers
# such as those of continuous integration: on others these packages may start services.
install_servers() {
  local packages="orthanc orthanc-dicomweb dicom3tools chromium" missing="" sudo=""
  command -v dpkg-query >/dev/null && command -v apt-get >/dev/null ||
    { echo "warning: INSTALL_SERVERS needs Debian's or Ubuntu's apt; going on without"; return 0; }
  for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "ok installed" || missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" != 0 ]; then sudo="sudo -n"; fi
  step "installing$missing"
  # shellcheck disable=SC2086
  { $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq update &&
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing; } >/dev/null 2>&1 ||
    echo "warning: apt-get could not install$missing; the tests that need them are skipped"
}
if [ -n "${INSTALL_SERVERS:-}" ]; then install_servers; fi
