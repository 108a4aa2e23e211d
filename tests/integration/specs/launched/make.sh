#!/bin/sh
echo "run $PRODSYS_RUN subrun $PRODSYS_SUBRUN" > "$PRODSYS_OUTPUT"
