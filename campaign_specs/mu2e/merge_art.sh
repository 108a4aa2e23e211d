#!/usr/bin/env bash
# Concatenates art files in the order given: merge_art.sh OUTPUT INPUT...
set -euo pipefail

output=$1
shift
setup=/cvmfs/mu2e.opensciencegrid.org/setupmu2e-art.sh
if [[ ! -r $setup ]]; then
  echo "Error from merge_art.sh: $setup is not there: does this node mount cvmfs?" >&2
  exit 18
fi
set +eu # the set-up scripts are not written for either
# shellcheck disable=SC1090
source "$setup" && muse setup SimJob "$MU2E_RELEASE" || exit 18
set -eu

printf '%s\n' "$@" >inputs.txt
cat >merge.fcl <<FHICL
#include "Offline/fcl/minimalMessageService.fcl"
process_name: concat
source: { module_type: RootInput }
services: { message: @local::default_message }
physics: { e1: [out] end_paths: [e1] }
outputs: { out: { module_type: RootOutput fileName: "$output" } }
FHICL
echo "Running the command: mu2e -c merge.fcl -S inputs.txt"
mu2e -c merge.fcl -S inputs.txt
