#!/usr/bin/env bash
# Runs the named steps in order and stops at the first that fails. Each says how long it took.
#
#   scripts/run-tests.sh [lint types contracts unit integration crash]
set -euo pipefail
unset CDPATH PYTHONPATH PYTHONHOME
cd -- "$(dirname -- "$0")/.."
source scripts/system-packages.sh
readonly BIN=.prodsys/venv/bin

say() { printf '==> %s\n' "$*"; }
die() {
  printf 'run-tests: %s\n' "$*" >&2
  exit 1
}

lint() { "$BIN/ruff" check . && "$BIN/ruff" format --check .; }
types() { "$BIN/mypy"; }
contracts() { "$BIN/lint-imports"; }
unit() { "$BIN/python" -m pytest -n 2 tests/unit; }
integration() { "$BIN/python" -m pytest -n 2 --dist loadfile --ignore=tests/integration/test_crash_matrix.py tests/integration; }
crash() { "$BIN/python" -m pytest tests/integration/test_crash_matrix.py; }

[ $# -gt 0 ] || set -- lint types contracts unit integration
started=$SECONDS
for step in "$@"; do
  case $step in
    lint | types | contracts | unit | crash) ;;
    integration) require_browser ;; # now, not after the quarter of an hour that the others may take
    *) die "no step is called $step; there are lint, types, contracts, unit, integration, crash" ;;
  esac
done
for step in "$@"; do
  printf '\n' && say "$step"
  begun=$SECONDS code=0
  "$step" || code=$?
  if [ "$code" -ne 0 ]; then
    say "$step FAILED (exit code $code) after $((SECONDS - begun)) s. Again: make $step" >&2
    exit 1
  fi
  say "$step: passed in $((SECONDS - begun)) s"
done
printf '\n' && say "all passed ($*) in $((SECONDS - started)) s"
