"""minipachd: Pachyderm's PFS and PPS for one machine, behind Pachyderm's own gRPC protocol."""

PACHYDERM_VERSION = (2, 7, 6)
"""The Pachyderm release whose protocol and behaviour this engine follows."""
