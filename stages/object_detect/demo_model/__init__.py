"""A detector for machines without a network: frames that we render, and a small model trained on nothing else (see README.md)."""
