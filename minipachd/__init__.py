"""minipachd: Pachyderm's PFS and PPS for one machine, behind Pachyderm's own gRPC protocol."""
