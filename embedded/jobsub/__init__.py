"""A stand-in for jobsub_lite, for a pool that has no Fermilab services.

It takes jobsub_lite's options, gives jobs its environment and ads, prints its output, and shares its habits,
such as exiting 0 when condor_submit fails. There are no tokens, no SAM, no RCDS and no containers behind it:
HTCondor or a shared file system carries the files.
"""
