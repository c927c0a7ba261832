"""PFS against a plain model: any sequence of puts, appends, deletes, copies, branches, errors, squashes and drops."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from minipachd.errors import InvalidError, MinipachdError
from minipachd.pfs import BranchKey, CommitKey, CommitReference, Pfs, RepoKey
from minipachd.pfs.fsck import findings
from minipachd.pps.records import SCHEMA as PPS_SCHEMA
from minipachd.storage import DataDirectory
from minipachd.upkeep.gc import Collector

REPO = RepoKey("default", "in")
OUT = BranchKey(RepoKey("default", "out"), "master")
BRANCHES = st.sampled_from(["master", "dev"])
FILES = st.sampled_from(["/a", "/b", "/d/a", "/d/b", "/d/e/a"])
# Around the size of a chunk, where appends are cut anew.
DATA = st.tuples(st.sampled_from("xyz"), st.sampled_from([0, 1, 2, 7, (1 << 20) - 1, 1 << 20, 1_500_000]))  # a letter, how often


class Model(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="pfs-model-"))
        self.directory = DataDirectory(self.folder)
        self.pfs = Pfs(self.directory)
        self.pfs.database.install(PPS_SCHEMA)  # a collection asks what jobs keep
        with self.pfs.transaction() as txn:
            txn.create_repo(REPO)
            txn.create_repo(OUT.repo)
            txn.create_branch(OUT, provenance=[BranchKey(REPO, "master")])
            (self.first,) = txn.commits(REPO)
        self.content = {self.first.id: {}}  # what each commit must hold
        self.errored = set()
        self.parent = {self.first.id: None}
        self.heads = {"master": self.first.id}
        self.open = {}  # branch -> commit id

    def teardown(self):
        assert findings(self.pfs) == []
        self.pfs.close()
        self.directory.close()
        shutil.rmtree(self.folder)

    def key(self, commit):
        return CommitKey(REPO, commit)

    def base(self, commit):
        while commit is not None and commit in self.errored:
            commit = self.parent[commit]
        return {} if commit is None else self.content[commit]

    @rule(branch=BRANCHES)
    def start(self, branch):
        def act():
            with self.pfs.transaction() as txn:
                return txn.start_commit(BranchKey(REPO, branch))

        if branch in self.open:
            with pytest.raises(InvalidError, match="has not been finished"):
                act()
            return
        commit = act()
        parent = self.heads.get(branch)
        assert (commit.parent and commit.parent.id) == parent
        self.parent[commit.id] = parent
        self.content[commit.id] = dict(self.base(parent))
        self.heads[branch] = self.open[branch] = commit.id

    @precondition(lambda self: self.open)
    @rule(
        data=st.data(),
        operations=st.lists(st.tuples(st.sampled_from(["put", "append", "delete", "rmdir", "copy"]), FILES, DATA), max_size=6),
    )
    def modify(self, data, operations):
        branch = data.draw(st.sampled_from(sorted(self.open)))
        commit = self.open[branch]
        expected = dict(self.content[commit])
        with self.pfs.modification() as modification:
            for kind, path, (letter, times) in operations:
                content = letter.encode() * times
                match kind:
                    case "put":
                        modification.delete(path, "")
                        modification.add(path, "", content)
                        expected[path] = content
                    case "append":
                        modification.add(path, "", content[:10])
                        modification.add(path, "", content[10:])
                        expected[path] = expected.get(path, b"") + content
                    case "delete":
                        modification.delete(path, "")
                        expected.pop(path, None)
                    case "rmdir":
                        modification.delete("/d/", "")
                        expected = {name: value for name, value in expected.items() if not name.startswith("/d/")}
                    case "copy" if path in self.base(self.heads.get("master")):
                        with self.pfs.snapshot() as view:
                            head = view.commit(self.key(self.heads["master"]))
                        if not head.finished or head.error:
                            continue
                        modification.delete("/copy", "")
                        modification.add_stored("/copy", "", self.pfs.files(head.root).get(path))
                        expected["/copy"] = self.content[head.id][path]
            appends = list(modification.appends())
            modification.upload.seal()
            with self.pfs.transaction() as txn:
                txn.write_files(self.key(commit), upload=modification.upload, delete=modification.deletes(), append=appends)
        self.content[commit] = expected

    @precondition(lambda self: self.open)
    @rule(data=st.data(), error=st.sampled_from(["", "", "broken"]))
    def finish(self, data, error):
        branch = data.draw(st.sampled_from(sorted(self.open)))
        commit = self.open.pop(branch)
        with self.pfs.transaction() as txn:
            finished = txn.finish_commit(self.key(commit), error=error)
        if finished.error:
            self.errored.add(commit)
        assert finished.error == error

    @precondition(lambda self: "dev" not in self.heads)
    @rule()
    def fork(self):
        with self.pfs.transaction() as txn:
            txn.create_branch(BranchKey(REPO, "dev"), head=txn.head(BranchKey(REPO, "master")).key)
        self.heads["dev"] = self.heads["master"]
        if "master" in self.open:
            self.open["dev"] = self.open.pop("master")  # both names mean the one open commit
            with self.pfs.transaction() as txn:
                finished = txn.finish_commit(self.key(self.open.pop("dev")))
            assert not finished.error

    @precondition(lambda self: len(self.parent) > 1)
    @rule(data=st.data(), squash=st.booleans())
    def forget(self, data, squash):
        """A commit downstream depends on master's newest ones: the engine may refuse, and must then change nothing."""
        commit = list(self.parent)[data.draw(st.integers(0, len(self.parent) - 1))]  # by age: ids are random
        children = [child for child, parent in self.parent.items() if parent == commit]
        try:
            with self.pfs.transaction() as txn:
                (txn.squash_commit_set if squash else txn.drop_commit_set)(commit)
        except MinipachdError:
            return
        if squash:
            assert children
        else:
            assert not children
        parent = self.parent.pop(commit)
        del self.content[commit]
        self.errored.discard(commit)
        for child in children:
            self.parent[child] = parent
        self.open = {branch: found for branch, found in self.open.items() if found != commit}
        for branch, head in list(self.heads.items()):
            if head != commit:
                continue
            self.heads[branch] = parent
            if parent is None:
                with self.pfs.snapshot() as view:
                    self.heads[branch] = view.head(BranchKey(REPO, branch)).id
                self.parent[self.heads[branch]] = None
                self.content[self.heads[branch]] = {}

    @precondition(lambda self: "dev" in self.heads and "dev" not in self.open)
    @rule()
    def delete_branch(self):
        """Its commits stay."""
        with self.pfs.transaction() as txn:
            txn.delete_branch(BranchKey(REPO, "dev"))
        del self.heads["dev"]

    @rule(data=st.data())
    def move_branch(self, data):
        """To any finished commit; writing goes on from there."""
        commit = list(self.parent)[data.draw(st.integers(0, len(self.parent) - 1))]
        if commit in self.open.values() or "dev" in self.open:
            return
        with self.pfs.transaction() as txn:
            txn.create_branch(BranchKey(REPO, "dev"), head=self.key(commit))
        self.heads["dev"] = commit

    @rule()
    def collect_garbage(self):
        assert Collector(self.pfs).collect().problems == ()

    @rule()
    def restart(self):
        self.pfs.close()
        self.directory.close()
        self.directory = DataDirectory(self.folder)
        self.pfs = Pfs(self.directory)

    @invariant()
    def every_commit_holds_what_it_must(self):
        with self.pfs.snapshot() as view:
            assert {commit.id for commit in view.commits(REPO)} == set(self.content)
            for commit_id, expected in self.content.items():
                commit = view.commit(self.key(commit_id))
                files = view.files(commit)
                assert {entry.path: entry.size for entry in files.entries()} == {path: len(data) for path, data in expected.items()}
                assert commit.size == sum(map(len, expected.values()))
            for branch, head in self.heads.items():
                found = view.resolve(CommitReference(REPO, branch))
                assert found.id == head
                for path, data in self.content[head].items():
                    assert b"".join(self.pfs.read(view.files(found).get(path))) == data

    @invariant()
    def what_is_downstream_is_made_from_the_heads_of_now(self):
        with self.pfs.snapshot() as view:
            assert [found.id for found in view.head(OUT).direct_provenance] == [self.heads["master"]]


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=12, stateful_step_count=20, deadline=None)
