# Sourced by _install.sh and _label.sh: how scripts speak, and how they find a Python and make an environment with it.
# PYTHON may name the Python to use; PYTHON_BELOW=13 takes none from 3.13 on.
set -euo pipefail
ASKED_PYTHON="${PYTHON:-}"

fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
step() { printf '==> %s\n' "$*"; }

good_python() {
  "$1" -c "import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info < (3, ${PYTHON_BELOW:-99}))" \
    >/dev/null 2>&1
}

find_python() {
  local wanted="Python 3.10 or newer"
  if [ -n "${PYTHON_BELOW:-}" ]; then wanted="Python 3.10 to 3.$((PYTHON_BELOW - 1))"; fi
  if [ -n "${PYTHON:-}" ]; then
    "$PYTHON" -c '' >/dev/null 2>&1 || fail "PYTHON=$PYTHON does not run; set PYTHON to a $wanted."
    "$PYTHON" -c "import sys; sys.exit(not (3, 10) <= sys.version_info < (3, ${PYTHON_BELOW:-99}))" ||
      fail "PYTHON=$PYTHON is $("$PYTHON" -V 2>&1), but $wanted is needed."
    good_python "$PYTHON" ||
      fail "PYTHON=$PYTHON cannot make virtual environments; install its venv module (Debian, Ubuntu: apt install python3-venv)."
    return
  fi
  for PYTHON in python3 python3.13 python3.12 python3.11 python3.10 python; do
    if good_python "$PYTHON"; then return; fi
  done
  fail "no $wanted with the venv module was found; install one (Debian, Ubuntu: apt install python3 python3-venv) or set PYTHON."
}

python_of() { # of a virtual environment; Windows keeps it in Scripts
  if [ -x "$1/bin/python" ]; then echo "$1/bin/python"; else echo "$1/Scripts/python.exe"; fi
}

make_venv() { # a folder; nothing happens where a working environment is already
  if "$(python_of "$1")" -m pip --version >/dev/null 2>&1; then return; fi
  find_python
  step "making $1 with $("$PYTHON" -V 2>&1)"
  "$PYTHON" -m venv --clear "$1" || fail "could not make the virtual environment $1."
}

install() { # a label for people, then pip's arguments; into the environment of $PY
  local label="$1" begin=$SECONDS quiet="-q"
  shift
  if [ -t 1 ]; then quiet=""; fi
  step "installing $label"
  # shellcheck disable=SC2086
  "$PY" -m pip install --disable-pip-version-check $quiet "$@" ||
    fail "could not install $label: pip's message is above; without a network see docs/start/install.md, then run this again."
  printf '    done in %d s\n' $((SECONDS - begin))
}
