"""Pipelines, jobs, datums and the workers that run them."""

from minipachd.pps.engine import DatumNotFoundError, Pps

__all__ = ["DatumNotFoundError", "Pps"]
