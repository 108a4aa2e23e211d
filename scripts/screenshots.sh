#!/usr/bin/env bash
# Takes the pictures in docs/images: the browser tests' campaign on a real pool, each page in both themes.
set -euo pipefail
unset CDPATH PYTHONPATH PYTHONHOME
cd -- "$(dirname -- "$0")/.."
mkdir -p docs/images
PRODSYS_SCREENSHOTS="$PWD/docs/images" .prodsys/venv/bin/python -m pytest -q tests/integration/test_browser_pages.py
for picture in docs/images/*.png; do
  size=$(stat -c %s "$picture")
  [ "$size" -le 200000 ] || { echo "$picture has $size bytes, more than 200000" >&2; exit 1; }
done
