"""Short forms of what the tests of the API say often."""

from python_pachyderm.proto.v2.pfs import pfs_pb2


def names(infos):
    return [info.repo.name for info in infos]


def repo(client, name):
    client.create_repo(name)
    return name


def branch(name, branch_name="master"):
    return pfs_pb2.Branch(repo=pfs_pb2.Repo(name=name, type="user", project=pfs_pb2.Project(name="default")), name=branch_name)


def start(client, name, branch_name="master"):
    return client.start_commit(name, branch_name)


def put(client, name, files, *, branch_name="master"):
    """One commit with these files, as (path, bytes); returns it."""
    with client.commit(name, branch_name) as commit:
        for path, data in files.items():
            client.put_file_bytes(commit, path, data)
    return commit


def paths(infos):
    return [info.file.path for info in infos]


def content(client, commit, path):
    with client.get_file(commit, path) as file:
        return b"".join(iter(lambda: file.read(1 << 20), b""))
