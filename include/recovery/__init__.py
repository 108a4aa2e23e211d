"""What to do about a stage that is not good: nothing, release, submit again, or ask a person."""
