"""What the dashboard's tests put into Pachyderm, through the provider's own client."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_pachyderm.client.channel import Server
from airflow_pachyderm.client.pfs import PfsClient
from airflow_pachyderm.client.pps import PpsClient
from airflow_pachyderm.client.protocol import pfs_pb2
from stages.contract import layout
from tests import records


@dataclass
class Pachyderm:
    """A server to fill."""

    server: Server

    @property
    def pfs(self) -> PfsClient:
        return PfsClient(self.server)

    @property
    def pps(self) -> PpsClient:
        return PpsClient(self.server)

    def commit(self, repo: str, files: Mapping[str, bytes | None], *, description: str = "") -> str:
        """One finished commit that sets files, and deletes those of None; its id."""
        self.pfs.create_repo(repo)
        commit = self.pfs.start_commit_once(repo, "master", description)
        message = self.pfs.commit_message(repo, "master", commit.commit_set)
        requests = [pfs_pb2.ModifyFileRequest(set_commit=message)]
        for path, content in files.items():
            requests.append(pfs_pb2.ModifyFileRequest(delete_file=pfs_pb2.DeleteFile(path=path)))
            if content is not None:
                add = pfs_pb2.AddFile(path=path)
                add.raw.value = content
                requests.append(pfs_pb2.ModifyFileRequest(add_file=add))
        self.server.stubs.pfs.ModifyFile(iter(requests), timeout=120, metadata=self.server.stubs.metadata)
        self.pfs.finish_commit(commit)
        return commit.commit_set

    def pipeline(self, name: str, **spec: Any) -> None:
        """A pipeline that runs a shell script."""
        self.pps.create_pipeline({"pipeline": {"name": name}, **spec}, name=name)

    def wait(self, commit_set: str) -> None:
        """Return when all jobs of a commit set have ended."""
        from airflow_pachyderm.client.protocol import pps_pb2

        request = pps_pb2.InspectJobSetRequest(job_set=pps_pb2.JobSet(id=commit_set), wait=True)
        list(self.server.stubs.pps.InspectJobSet(request, timeout=120, metadata=self.server.stubs.metadata))

    def threat(self, device: str, timestamp: int, labels: Mapping[str, float]) -> dict[str, bytes]:
        """The record of a threat as the stage writes it, by path."""
        record = records.threat(device, timestamp, labels)
        return {layout.record(device, str(timestamp)): json.dumps(record.as_json()).encode()}
