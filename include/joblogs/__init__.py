"""Job logs of any experiment: read as a stream, in bounded memory, and understood."""
