#!/usr/bin/env bash
# Makes the browser libraries of the pages anew, from npm by name and version, and checks each file's sum.
#   scripts/vendor-static.sh          writes plugins/prodsys_operators/pages/static/vendor
#   scripts/vendor-static.sh --check  only compares what is there with the sums below
set -euo pipefail
unset CDPATH
cd -- "$(dirname -- "$0")/.."
readonly FOLDER=plugins/prodsys_operators/pages/static/vendor

# package version file-in-the-package name-here sha256
readonly FILES='
uplot 1.6.32 dist/uPlot.iife.min.js uplot.js 19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f
uplot 1.6.32 dist/uPlot.min.css uplot.css df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04
uplot 1.6.32 LICENSE uplot.LICENSE 8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd
idiomorph 0.8.0 dist/idiomorph.min.js idiomorph.js 4cbd535caf7663a51eda9bce6595371c384fc430d54b8d414e29a61167f19f96
idiomorph 0.8.0 LICENSE idiomorph.LICENSE d3d2456f76414f2456104660ebd65aff1c04cd7966b942bdabd63f3cdb316a38
'

check() { # folder
  local package version file name sum
  while read -r package version file name sum; do
    [ -n "$package" ] || continue
    echo "$sum  $1/$name" | sha256sum --check --quiet || {
      echo "$1/$name is not $file of $package $version" >&2
      return 1
    }
  done <<<"$FILES"
}

if [ "${1:-}" = --check ]; then
  check "$FOLDER"
  exit
fi
command -v npm >/dev/null || { echo "npm is needed: apt-get install npm" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/new"
while read -r package version file name _; do
  [ -n "$package" ] || continue
  if [ ! -d "$work/$package" ]; then
    mkdir "$work/$package"
    (cd "$work" && npm pack --silent "$package@$version" >/dev/null)
    tar -xzf "$work/$package-$version.tgz" -C "$work/$package"
  fi
  cp "$work/$package/package/$file" "$work/new/$name"
done <<<"$FILES"
check "$work/new"
mkdir -p "$FOLDER"
cp "$work"/new/* "$FOLDER/"
echo "wrote $FOLDER"
