"""The batch system: jobsub's command and HTCondor's queues."""
