#!/usr/bin/env bash
# Runs one art job of a Mu2e campaign, in the manner of mu2egrid: sets up the release, writes the job's FHiCL, runs mu2e.
#
#   art_job.sh --fcl FILE --output MODULE [--generate] [--resample FILTER=INPUT]...
#
# FILE is found in $CONDOR_DIR_INPUT. MODULE is the art output module whose file the campaign keeps. --generate starts
# from an empty event source; without it the events of the input `signal` are read. --resample gives a mixing or
# resampling filter the files of another input. Run, subrun, seed, events and files come from prodsys's job contract.
#
# Exit codes as in mu2egrid: 18 the release cannot be set up, 19 a file is missing, else art's own.
set -euo pipefail

fail() { # fail CODE TEXT
  echo "Error from art_job.sh: $2" >&2
  exit "$1"
}

fcl="" output="" generate="" resample=()
while (($#)); do
  case $1 in
    --fcl) fcl=$2; shift 2 ;;
    --output) output=$2; shift 2 ;;
    --generate) generate=yes; shift ;;
    --resample) resample+=("$2"); shift 2 ;;
    *) fail 19 "unknown argument $1" ;;
  esac
done
[[ -r $CONDOR_DIR_INPUT/$fcl ]] || fail 19 "no FHiCL file $fcl in $CONDOR_DIR_INPUT"

echo "Starting on host $(uname -a) on $(date)"
echo "GLIDEIN_Site=${GLIDEIN_Site:-unknown}"

setup=/cvmfs/mu2e.opensciencegrid.org/setupmu2e-art.sh
[[ -r $setup ]] || fail 18 "$setup is not there: does this node mount cvmfs?"
set +eu # the set-up scripts are not written for either
# shellcheck disable=SC1090
source "$setup" && muse setup SimJob "$MU2E_RELEASE" || fail 18 "SimJob $MU2E_RELEASE cannot be set up"
set -eu

# A list of FHiCL strings: "a", "b"
quoted() { sed -e 's/.*/"&"/' "$1" | paste -sd, -; }

# The files of one input, whose name the contract puts in upper case.
input_list() {
  local variable="PRODSYS_INPUTS_${1^^}"
  [[ -s ${!variable:-} ]] || fail 19 "the input $1 has no files"
  echo "${!variable}"
}

{
  cat "$CONDOR_DIR_INPUT/$fcl"
  echo "outputs.$output.fileName: \"$PRODSYS_OUTPUT\""
  echo "services.SeedService.baseSeed: $PRODSYS_SEED"
  if [[ $generate ]]; then
    echo "source.firstRun: $PRODSYS_RUN"
    echo "source.firstSubRun: $PRODSYS_SUBRUN"
    echo "source.maxEvents: $PRODSYS_EVENTS"
  fi
  for pair in ${resample[@]+"${resample[@]}"}; do
    list=$(input_list "${pair#*=}")
    echo "physics.filters.${pair%%=*}.fileNames: [$(quoted "$list")]"
  done
} >job.fcl
cp job.fcl "$PRODSYS_LOG_DIR/"

command=(mu2e -c job.fcl)
if [[ ! $generate ]]; then
  signal=$(input_list signal)
  command+=(-S "$signal")
fi
echo "Running the command: ${command[*]}"
status=0
command time -f '%Uuser %Ssystem %eelapsed (%Mmaxresident)k' "${command[@]}" || status=$?
((status == 0)) || fail "$status" "${command[*]}: exit code $status"
[[ -s $PRODSYS_OUTPUT ]] || fail 23 "art went well but wrote no $PRODSYS_OUTPUT"
echo "mu2egrid exit status 0 on $(date) -- $(date +%s)"
