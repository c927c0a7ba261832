"""The provider's own face of Pachyderm's gRPC API.

Importing anything below loads grpc and python-pachyderm, so modules that are imported while DAGs are parsed import it inside functions.

python-pachyderm's messages and stubs are used as they are. Its ``Client`` is handed out by the hook for calls that nothing here wraps, but
the provider does not use it for its own: it takes no deadlines, finishes a commit whose body failed (``Client.commit``), hides a broken
stream (``PFSFile.read``) and sends one message per line of a file (``put_file_from_filepath``).
"""
