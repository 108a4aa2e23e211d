"""Checks turn evidence into verdicts."""
