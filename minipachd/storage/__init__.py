"""Bytes and metadata on disk: a data directory, one SQLite database, packs of content-addressed chunks, and trees over both."""

from minipachd.storage.chunks import CHUNK_BYTES, CHUNK_ID_BYTES, ChunkStore, ChunkWriter, PackUse
from minipachd.storage.database import Database, Schema
from minipachd.storage.directory import DataDirectory
from minipachd.storage.tree import EMPTY_ROOT, Aggregate, Entry, NodeStore, Tree

__all__ = [
    "CHUNK_BYTES",
    "CHUNK_ID_BYTES",
    "EMPTY_ROOT",
    "Aggregate",
    "ChunkStore",
    "ChunkWriter",
    "DataDirectory",
    "Database",
    "Entry",
    "NodeStore",
    "PackUse",
    "Schema",
    "Tree",
]
