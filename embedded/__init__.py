"""The embedded default: a personal HTCondor pool, and a stand-in for jobsub that submits to it.

For demonstrations, tests and work on campaigns on a machine that has neither. Nothing in the product's core
imports this package: the operators know the command `jobsub_submit` and the pool that CONDOR_CONFIG names,
whosever they are.
"""
