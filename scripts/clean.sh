#!/usr/bin/env bash
# Stops what this checkout runs, then removes .prodsys/ and the tools' caches.
set -euo pipefail
unset CDPATH PYTHONPATH PYTHONHOME
cd -- "$(dirname -- "$0")/.."
readonly STATE="$PWD/.prodsys/"

# True for a process that runs a program of .prodsys, has a path in it as an argument, or belongs to a pool there.
# HTCondor's daemons may have been started by a short link, so that only their program or their environment tells.
is_ours() { # pid
  [[ "$(readlink "/proc/$1/exe" 2>/dev/null)" == "$STATE"* ]] ||
    { tr '\0' '\n' <"/proc/$1/cmdline" | grep -qF -- "$STATE"; } 2>/dev/null ||
    { tr '\0' '\n' <"/proc/$1/environ" | grep -qF -- "PRODSYS_POOL_STATE=$STATE"; } 2>/dev/null
}

running() {
  local folder
  for folder in /proc/[0-9]*; do
    [ "${folder#/proc/}" = $$ ] || ! is_ours "${folder#/proc/}" || printf '%s ' "${folder#/proc/}"
  done
}

if [ -x .prodsys/venv/bin/prodsys ]; then
  .prodsys/venv/bin/prodsys down || printf 'clean: prodsys down failed (see above)\n' >&2
fi
left=$(running)
if [ -n "$left" ]; then
  printf 'clean: nothing removed, processes of %s still run: %s\nclean: end them first: kill %s\n' "$STATE" "$left" "$left" >&2
  exit 1
fi
rm -rf dags/prodsys_truth.py .prodsys .ruff_cache .mypy_cache .pytest_cache .import_linter_cache .hypothesis dist
# Generated DAG files; a folder that holds anything else stays.
for folder in dags/*/; do
  [ -d "$folder" ] || continue
  find "$folder" -maxdepth 1 -name '*.py' -exec grep -q '^# Made by prodsys from a campaign spec' {} \; -delete
  rm -rf "${folder}__pycache__"
  rmdir "$folder" 2>/dev/null || true
done
find . -name __pycache__ -type d -prune -exec rm -rf {} +
printf '==> removed .prodsys and the caches\n'
