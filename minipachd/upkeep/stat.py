"""What is in a data directory. Reads the database beside a server that may be writing to it."""

from pathlib import Path

import msgspec

from minipachd.pfs import View
from minipachd.pfs.schema import SCHEMA as PFS_SCHEMA
from minipachd.pps.records import SCHEMA as PPS_SCHEMA
from minipachd.storage import ChunkStore, Database, NodeStore
from minipachd.storage.directory import check_present
from minipachd.upkeep.gc import Marks
from minipachd.upkeep.roots import all_roots


class RepoStat(msgspec.Struct, frozen=True, kw_only=True):
    """:ivar files: At the head of ``master``, as are ``bytes``."""

    repo: str
    commits: int
    files: int
    bytes: int


class Stat(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes are bytes.

    :ivar logical_bytes: What all commits hold, each counted whole.
    :ivar stored_bytes: What the packs hold: content, every chunk once.
    :ivar reclaimable_bytes: The part of it that nothing uses. A garbage collection gives it back, but for small gaps.
    :ivar database_free_bytes: Room in the database for what comes.
    """

    data: str
    repos: list[RepoStat]
    commits: int
    open_commits: int
    file_sets: int
    pipelines: int
    jobs: int
    chunks: int
    packs: int
    logical_bytes: int
    stored_bytes: int
    reclaimable_bytes: int
    database_bytes: int
    database_free_bytes: int


def stat(root: Path) -> Stat:
    """:raises DataDirError: There is no data directory, or one of another version. :raises CorruptError: A tree is damaged."""
    check_present(root)
    path = root / "metadata.db"
    database = Database(path, read_only=True)
    try:
        nodes = NodeStore(database)
        ChunkStore(database, root / "packs")
        database.install(PFS_SCHEMA)
        database.install(PPS_SCHEMA)
        return _stat(root, database, nodes)
    finally:
        database.close()


def _stat(root: Path, database: Database, nodes: NodeStore) -> Stat:
    with database.snapshot() as db:
        view = View(db, nodes)
        repos = []
        for repo in view.repos():
            row = view.repo_row(repo.key)
            (commits,) = db.execute("SELECT count(*) FROM commits WHERE repo = ?", (row,)).fetchone()
            head = db.execute(
                "SELECT c.root FROM branches b JOIN commits c ON c.id = b.head WHERE b.repo = ? AND b.name = 'master'", (row,)
            ).fetchone()
            sums = view.tree(head[0] if head else b"").tree.aggregate()
            repos.append(RepoStat(repo=str(repo.key), commits=commits, files=sums.count, bytes=sums.weight))
        marks = Marks(nodes)
        marks.add(all_roots(db))
        used = sum(length for chunk, length in db.execute("SELECT id, length FROM chunks") if chunk in marks.chunks)
        (stored,) = db.execute("SELECT coalesce(sum(size), 0) FROM packs").fetchone()
        count = {
            name: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - constants of this function
            for name, table in {
                "commits": "commits",
                "open_commits": "commits WHERE finished_ns IS NULL",
                "file_sets": "filesets",
                "pipelines": "pps_pipelines",
                "jobs": "pps_jobs",
                "chunks": "chunks",
                "packs": "packs",
            }.items()
        }
        (logical,) = db.execute("SELECT coalesce(sum(size), 0) FROM commits").fetchone()
        (page,), (free,) = (db.execute(f"PRAGMA {name}").fetchone() for name in ("page_size", "freelist_count"))
    return Stat(
        data=str(root),
        repos=sorted(repos, key=lambda repo: repo.repo),
        logical_bytes=logical,
        stored_bytes=stored,
        reclaimable_bytes=stored - used,
        database_bytes=(root / "metadata.db").stat().st_size,
        database_free_bytes=page * free,
        **count,
    )


def as_text(found: Stat) -> str:
    """For people."""
    lines = [
        f"data directory    {found.data}",
        f"repos             {len(found.repos)}",
        f"commits           {found.commits}, {found.open_commits} of them open; {found.file_sets} file sets",
        f"pipelines, jobs   {found.pipelines}, {found.jobs}",
        f"held by commits   {size(found.logical_bytes)}, each commit counted whole",
        f"stored            {size(found.stored_bytes)} in {found.chunks} chunks and {found.packs} packs",
        f"reclaimable       {size(found.reclaimable_bytes)} (minipachd gc)",
        f"database          {size(found.database_bytes)}, {size(found.database_free_bytes)} of it free",
    ]
    if found.repos:
        width = max(len(repo.repo) for repo in found.repos)
        lines += ["", f"{'repo':{width}}  commits    files at the head of master"]
        lines += [f"{repo.repo:{width}}  {repo.commits:7}  {repo.files:7}  {size(repo.bytes)}" for repo in found.repos]
    return "\n".join(lines)


def size(count: int) -> str:
    """Bytes for people, to three digits."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"
