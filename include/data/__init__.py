"""Inputs of jobs, storage areas, and cleanup."""
