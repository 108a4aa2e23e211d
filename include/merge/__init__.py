"""Which files are merged with which."""
