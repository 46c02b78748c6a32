#!/usr/bin/env bash
# Installs the package with its test tools into .venv, then runs the linter, the type checker and the tests.
# Usage: bash scripts/test.sh [arguments for pytest]        (VENV_DIR and PYTHON are honoured, JOBS=2 tests at a time)
WITH_TESTS=1
# shellcheck source=scripts/_install.sh
source "$(dirname "${BASH_SOURCE[0]}")/_install.sh"

if [ -n "${INSTALL_SERVERS:-}" ]; then
  # shellcheck source=scripts/_label.sh
  source scripts/_label.sh
  (install_label) || echo "warning: MONAI Label could not be installed; the tests that need it are skipped"
fi

step "ruff"
"$PY" -m ruff check . || fail "ruff found something to mend, see above."
"$PY" -m ruff format --check --quiet . || fail "some files are not formatted; run: $PY -m ruff format ."
step "mypy"
"$PY" -m mypy monai_agglo || fail "mypy found something to mend, see above."
step "pytest"
# One thread per process: two busy processes with two threads each are slower than two with one.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
"$PY" -m pytest -n "${JOBS:-2}" --dist loadfile "$@"
