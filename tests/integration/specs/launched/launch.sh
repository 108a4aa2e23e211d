#!/bin/bash
set -e
mapfile -t options < "$PRODSYS_OPTIONS"
while read -r path; do options+=(-f "dropbox://$path"); done < "$PRODSYS_FILES"
call() {                                           # first unit, number of jobs
    jobsub_submit -G "$PRODSYS_GROUP" ${PRODSYS_ROLE:+--role "$PRODSYS_ROLE"} -N "$2" "${options[@]}" \
        --memory "${PRODSYS_MEMORY_MB}MB" --disk "${PRODSYS_DISK_KB}KB" --cpu "$PRODSYS_CPUS" \
        --expected-lifetime "${PRODSYS_LIFETIME_S}s" \
        "file://$PRODSYS_WORKER" run job.json --first-unit "$1"
}
half=$((PRODSYS_JOBS / 2))
if [ "$half" -gt 0 ]; then call 0 "$half"; fi
call "$half" $((PRODSYS_JOBS - half))
