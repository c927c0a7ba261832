"""Looking after a data directory: collecting garbage, and saying what is in it."""
