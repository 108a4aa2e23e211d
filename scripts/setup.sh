#!/usr/bin/env bash
# Brings a checkout to a working state, all of it inside .prodsys/.
#
#   scripts/setup.sh demo    what `make demo` needs: prodsys with Airflow, and the physics tools of the example campaigns
#   scripts/setup.sh test    the same with the test tools, and a browser where root can install one
#   scripts/setup.sh peers   what `make bench-peers` needs besides: the engines that prodsys is compared with
#
# PYTHON=/path/to/python3.12 chooses the interpreter. What is up to date is left alone; what was interrupted is done
# again: each stamp is written last.
set -euo pipefail
unset CDPATH
cd -- "$(dirname -- "$0")/.."
source scripts/system-packages.sh

readonly VENV=.prodsys/venv PHYSICS=.prodsys/physics
readonly PHYSICS_LOCK=embedded/physics/requirements.txt
readonly PEERS=.prodsys/peers PEERS_LOCK=benchmarks/peers/requirements.txt
readonly DISK_NEEDED_MB=4000 # measured: 2.4 GB with the test tools, and room for a demo's outputs
readonly PYTHON_ID='import sys; print("%d.%d" % sys.version_info[:2], sys.base_prefix)'
readonly PYTHON_OK='import sys, ssl, sqlite3; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))'

say() { printf '==> %s\n' "$*"; }
die() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}

# Variables that would send an install elsewhere, or another Python's packages into ours.
isolate() {
  unset PYTHONPATH PYTHONHOME VIRTUAL_ENV CONDA_PREFIX
  unset PIP_TARGET PIP_PREFIX PIP_ROOT PIP_REQUIRE_VIRTUALENV PIP_REQUIRE_HASHES
  unset UV_SYSTEM_PYTHON UV_PYTHON UV_PROJECT_ENVIRONMENT UV_REQUIRE_HASHES UV_CONSTRAINT UV_OVERRIDE UV_BUILD_CONSTRAINT
  export PIP_USER=0 PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1
  if [ ! -w "${HOME:-/nonexistent}" ]; then # no home to cache in
    export UV_CACHE_DIR="${UV_CACHE_DIR:-$PWD/.prodsys/cache/uv}" PIP_CACHE_DIR="${PIP_CACHE_DIR:-$PWD/.prodsys/cache/pip}"
  fi
}

take_lock() {
  [ ! -e .prodsys ] || [ -w .prodsys ] ||
    die "$PWD/.prodsys belongs to $(stat -c %U .prodsys): run as that user, or remove it first"
  mkdir -p .prodsys 2>/dev/null || die "cannot write to $PWD: use a checkout of your own"
  exec 9>.prodsys/setup.lock
  flock -n 9 || {
    say "waiting for another set-up of this checkout"
    flock 9
  }
}

# The first Python in the supported range, one that can make virtual environments preferred.
find_python() {
  local candidate fallback=
  # The machine's own comes last: a version manager's python3 may come first and be too old.
  for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 /usr/bin/python3; do
    "$candidate" -c "$PYTHON_OK" 2>/dev/null || continue
    if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
    [ -n "${PYTHON:-}" ] && fallback=$candidate && break
    fallback=${fallback:-$candidate}
  done
  [ -n "$fallback" ] || die "no Python 3.11, 3.12 or 3.13 on PATH. Install one: $(install_command python3 python3-venv)"
  install_venv_module "$fallback" >&2
  printf '%s\n' "$fallback"
}

# True when the folder holds a finished environment of this very checkout and of the Python that is wanted.
venv_is_good() { # folder python-id-or-empty
  local id
  [ -f "$1/.made" ] && [ "$(sed -n 1p "$1/.made")" = "$PWD" ] || return 1
  id=$("$1/bin/python" -c "$PYTHON_ID" 2>/dev/null) || return 1
  [ "$id" = "$(sed -n 2p "$1/.made")" ] && { [ -z "$2" ] || [ "$id" = "$2" ]; }
}

make_venv() { # folder
  local wanted= python
  [ -z "${PYTHON:-}" ] || wanted=$("$PYTHON" -c "$PYTHON_ID")
  venv_is_good "$1" "$wanted" && return
  check_disk
  python=$(find_python)
  say "$1: a new environment of $("$python" --version) ($("$python" -c 'import sys; print(sys.executable)'))"
  rm -rf "$1"
  "$python" -m venv "$1"
  printf '%s\n%s\n' "$PWD" "$("$1/bin/python" -c "$PYTHON_ID")" >"$1/.made"
}

check_disk() {
  local free_mb
  free_mb=$(df -Pm . | awk 'NR == 2 {print $4}')
  [ "$free_mb" -ge "$DISK_NEEDED_MB" ] || say "warning: $PWD has $free_mb MB free; prodsys needs about $DISK_NEEDED_MB MB"
}

# uv in the product's environment, at the version of the lock file; it asks the index that pip is set up for.
ensure_uv() {
  local version settings
  version=$(sed -n 's/^uv==\([^ ;]*\).*/\1/p' requirements-test.txt)
  if [ "$("$VENV/bin/uv" --version 2>/dev/null | awk '{print $2}')" != "$version" ]; then
    say "$VENV: uv $version"
    "$VENV/bin/python" -m pip install --quiet --force-reinstall --no-deps "uv==$version" ||
      die "pip could not install uv $version: see above. Check the network and pip's index (pip config list)"
  fi
  [ -z "${UV_READY:-}" ] || return 0
  settings=$("$VENV/bin/python" scripts/uv_index.py)
  eval "$settings"
  UV_READY=1
}

# uv shows its own progress on a terminal; without one, its list of every package is left out.
run_uv() {
  if [ -t 2 ]; then
    "$VENV/bin/uv" pip "$@"
  else
    { "$VENV/bin/uv" --no-progress pip "$@" 2>&1 >&3 | { grep --line-buffered -v '^ [-+~] ' || true; }; } 3>&1
  fi
}

fingerprint() { sha256sum "$@" | sha256sum | cut -c1-16; }

install_product() { # runtime|test
  local wanted=$1 lock=requirements.txt done_already
  make_venv "$VENV"
  done_already=$(cat "$VENV/.installed" 2>/dev/null || true)
  [ "${done_already%% *}" != test ] || wanted=test # a demo does not take the test tools away
  [ "$wanted" = runtime ] || lock=requirements-test.txt
  wanted="$wanted $(fingerprint "$lock" requirements-test.txt pyproject.toml)"
  [ "$done_already" != "$wanted" ] || return 0
  rm -f "$VENV/.installed"
  ensure_uv
  say "$VENV: $(grep -c '==' "$lock") packages of $lock"
  run_uv sync --python "$VENV/bin/python" --compile-bytecode "$lock" || die "uv could not install $lock: see above"
  say "$VENV: prodsys itself, editable"
  run_uv install --python "$VENV/bin/python" --no-deps --build-constraints requirements-test.txt --editable . ||
    die "the editable install of prodsys failed: see above"
  printf '%s\n' "$wanted" >"$VENV/.installed"
}

# ROOT's wheel keeps its programs in its own folder; jobs have the environment's bin/ on their PATH.
link_hadd() {
  local hadd
  hadd=$(cd "$PHYSICS/bin" && ls ../lib/python*/site-packages/ROOT/bin/hadd 2>/dev/null) ||
    die "$PHYSICS_LOCK brought no hadd: is root still in it?"
  ln -sfn "$hadd" "$PHYSICS/bin/hadd"
}

install_physics() {
  local wanted
  [ -f "$PHYSICS_LOCK" ] || die "$PHYSICS_LOCK is missing: the checkout is not complete"
  make_venv "$PHYSICS"
  wanted=$(fingerprint "$PHYSICS_LOCK")
  [ "$(cat "$PHYSICS/.installed" 2>/dev/null)" != "$wanted" ] || return 0
  rm -f "$PHYSICS/.installed"
  ensure_uv
  say "$PHYSICS: $(grep -c '==' "$PHYSICS_LOCK") packages of $PHYSICS_LOCK"
  run_uv sync --python "$PHYSICS/bin/python" --compile-bytecode --only-binary :all: "$PHYSICS_LOCK" ||
    die "uv could not install $PHYSICS_LOCK: see above"
  link_hadd
  printf '%s\n' "$wanted" >"$PHYSICS/.installed"
}

# An environment of their own: they want an older HTCondor binding. Two of Snakemake's needs have no wheel.
install_peers() {
  local wanted
  make_venv "$PEERS"
  wanted=$(fingerprint "$PEERS_LOCK")
  [ "$(cat "$PEERS/.installed" 2>/dev/null)" != "$wanted" ] || return 0
  rm -f "$PEERS/.installed"
  ensure_uv
  say "$PEERS: $(grep -c '==' "$PEERS_LOCK") packages of $PEERS_LOCK"
  run_uv sync --python "$PEERS/bin/python" --compile-bytecode "$PEERS_LOCK" ||
    die "uv could not install $PEERS_LOCK: see above"
  printf '%s\n' "$wanted" >"$PEERS/.installed"
}

main() {
  case "${1:-}" in demo | test | peers) ;; *) die "usage: scripts/setup.sh demo|test|peers" ;; esac
  SECONDS=0
  isolate
  [ -z "${PYTHON:-}" ] || "$PYTHON" -c "$PYTHON_OK" 2>/dev/null ||
    die "PYTHON=$PYTHON is no Python 3.11 to 3.13 with ssl and sqlite3"
  take_lock
  if [ "$1" = peers ]; then
    install_peers
  else
    [ "$1" = demo ] || offer_browser
    install_product "${1/demo/runtime}"
    install_physics
  fi
  say "set-up for $1 is complete: $("$VENV/bin/python" --version), ${SECONDS} s"
}

main "$@"
