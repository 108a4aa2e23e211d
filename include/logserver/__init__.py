"""The log server: jobs send their log as they run, people read and search it."""
