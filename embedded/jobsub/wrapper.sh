# The job's wrapper. What stands above this line was written at submission: jsb_exe, jsb_log_file and the functions
# jsb_fetch, jsb_unpack, jsb_make_dirs, jsb_run and jsb_copy_out.

umask 002
unset CPATH LIBRARY_PATH

# Where node and schedd share a file system HTCondor transfers nothing, and starts the job in the submission's folder.
jsb_shared=
if [ -d "$_CONDOR_SCRATCH_DIR" ] && [ "$(pwd -P)" != "$(cd "$_CONDOR_SCRATCH_DIR" && pwd -P)" ]; then
    jsb_shared=yes
    cp -R send/. "$_CONDOR_SCRATCH_DIR" && cd "$_CONDOR_SCRATCH_DIR" || exit 1
fi

jsb_top=$(pwd)
JSB_TMP=$jsb_top/jsb_tmp
_CONDOR_SCRATCH_DIR=$jsb_top/no_xfer
CONDOR_DIR_INPUT=$_CONDOR_SCRATCH_DIR/${PROCESS:-0}/TRANSFERRED_INPUT_FILES
TMPDIR=$_CONDOR_SCRATCH_DIR TMP=$_CONDOR_SCRATCH_DIR TEMP=$_CONDOR_SCRATCH_DIR
PATH=${PATH:-/usr/local/bin:/usr/bin:/bin}:.
JOBSUB_EXE_SCRIPT=$jsb_exe
export JSB_TMP _CONDOR_SCRATCH_DIR CONDOR_DIR_INPUT TMPDIR TMP TEMP PATH JOBSUB_EXE_SCRIPT
mkdir -p "$JSB_TMP" "$CONDOR_DIR_INPUT"

# Print a file, or its head and tail where it is long.
jsb_truncate() {
    jsb_head=${JOBSUB_MAX_JOBLOG_HEAD_SIZE:-1000000}
    jsb_tail=${JOBSUB_MAX_JOBLOG_TAIL_SIZE:-4000000}
    jsb_size=$(($(wc -c < "$1")))
    if [ "$jsb_size" -gt $((jsb_head + jsb_tail)) ]; then
        head -c "$jsb_head" "$1"
        printf '\njobsub:---- truncated after %s bytes--\n\n\njobsub:---- resumed for last %s bytes--\n\n' "$jsb_head" "$jsb_tail"
        tail -c "$jsb_tail" "$1"
    else
        cat "$1"
    fi
}

jsb_finish() {
    exec 1>&7 7>&- 2>&8 8>&-
    jsb_truncate "$JSB_TMP/JOBSUB_ERR_FILE" >&2
    jsb_truncate "$JSB_TMP/JOBSUB_LOG_FILE"
    if [ -n "$jsb_log_file" ]; then
        cp "$JSB_TMP/JOBSUB_LOG_FILE" "$jsb_log_file"
    fi
}

# HTCondor sends the signal to this shell alone, and kills the rest a little later. A grid pool transfers no log of a job that
# was held or evicted, so none is left where it would not need to be transferred either.
jsb_signal() {
    if [ -n "$jsb_child" ]; then
        kill -s TERM "$jsb_child" 2> /dev/null
        wait "$jsb_child"
    fi
    echo "received signal $1"
    echo "received signal $1" >&2
    if [ -n "$jsb_shared" ]; then trap - EXIT; fi
    exit 255
}

jsb_say() {
    echo "$(date) $*"
    echo "$(date) $*" >&2
}

exec 7>&1 > "$JSB_TMP/JOBSUB_LOG_FILE" 8>&2 2> "$JSB_TMP/JOBSUB_ERR_FILE"
jsb_child=
trap jsb_finish EXIT
trap 'jsb_signal TERM' TERM
trap 'jsb_signal INT' INT
trap 'jsb_signal QUIT' QUIT

if [ -d jsb_dropbox ]; then
    for jsb_file in jsb_dropbox/* jsb_dropbox/.[!.]*; do
        if [ -e "$jsb_file" ]; then mv "$jsb_file" "$CONDOR_DIR_INPUT/"; fi
    done
fi
jsb_fetch
jsb_unpack
jsb_make_dirs
chmod +x "$jsb_exe"
jsb_say "$JOBSUBJOBID BEGIN EXECUTION $jsb_exe"
jsb_run 7>&- 8>&- < /dev/null &
jsb_child=$!
wait "$jsb_child"
jsb_status=$?
jsb_child=
# As with the real one, a copy that fails does not change the job's exit code.
jsb_copy_out
jsb_say "$jsb_exe COMPLETED with exit status $jsb_status"
exit "$jsb_status"
