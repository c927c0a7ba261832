"""Transactions: whole or not at all."""

from tests.conformance.lab import NO_ID, Lab, pfs_proto, refused, transaction_proto


def creation(lab: Lab, name: str) -> object:
    return transaction_proto.TransactionRequest(create_repo=pfs_proto.CreateRepoRequest(repo=lab.pfs.repo_message(name)))


def test_nothing_is_seen_before_the_end_and_all_after_it(lab: Lab) -> None:
    one, two = lab.name(), lab.name()
    with lab.transaction() as transaction:
        lab.client.create_repo(one, project_name=lab.project)
        lab.client.create_repo(two, project_name=lab.project)
        assert transaction in [info.transaction.id for info in lab.client.list_transaction()]
        info = lab.client.inspect_transaction(transaction)
        assert len(info.requests) == len(info.responses) == 2
        assert lab.repos() == set()
    assert lab.repos() == {one, two}
    assert transaction not in [info.transaction.id for info in lab.client.list_transaction()]


def test_commits_of_a_transaction_share_its_id_and_give_one_commit_downstream(lab: Lab) -> None:
    left, right, out = (lab.repo(stem) for stem in ("left", "right", "out"))
    lab.client.create_branch(out, "master", provenance=[lab.branch(left), lab.branch(right)], project_name=lab.project)
    before = len(lab.commits(out, all=True))
    with lab.transaction() as transaction:
        for repo in (left, right):
            assert lab.start(repo) == transaction
            lab.finish(repo, transaction)
    assert sorted(info.commit.repo.name for info in lab.client.inspect_commit(transaction)) == sorted([left, right, out])
    assert len(lab.commits(out, all=True)) == before + 1


def test_a_call_that_cannot_work_is_refused_at_once_and_not_kept(lab: Lab) -> None:
    repo = lab.name()
    with lab.transaction() as transaction:
        lab.client.create_repo(repo, project_name=lab.project)
        with refused("ALREADY_EXISTS", "already exists"):
            lab.client.create_repo(repo, project_name=lab.project)
        assert len(lab.client.inspect_transaction(transaction).requests) == 1
    assert lab.repos() == {repo}


def test_a_deleted_transaction_leaves_nothing(lab: Lab) -> None:
    transaction = lab.started_transaction()
    lab.client.transaction_id = transaction.id
    try:
        lab.client.create_repo(lab.name(), project_name=lab.project)
    finally:
        lab.client.transaction_id = None
    lab.client.delete_transaction(transaction)
    assert lab.repos() == set()
    with refused("NOT_FOUND", "not found"):
        lab.client.inspect_transaction(transaction)
    with refused("NOT_FOUND", "not found"):
        lab.client.inspect_transaction(NO_ID)


def test_a_batch_is_all_or_nothing(lab: Lab) -> None:
    one, two, three = lab.name(), lab.name(), lab.name()
    lab.client.batch_transaction([creation(lab, one), creation(lab, two)])
    assert lab.repos() == {one, two}
    with refused("ALREADY_EXISTS", "already exists"):
        lab.client.batch_transaction([creation(lab, three), creation(lab, one)])
    assert lab.repos() == {one, two}


def test_two_commits_of_one_repo_are_refused(lab: Lab) -> None:
    repo = lab.repo()
    with lab.transaction():
        lab.start(repo)
        with refused("UNKNOWN" if lab.speaks_2_7 else "ALREADY_EXISTS", "inconsistent dependencies"):
            lab.start(repo, "other")


def test_a_branch_and_what_it_is_made_from_can_be_made_together(lab: Lab) -> None:
    source, out = lab.name("in"), lab.name("out")
    with lab.transaction():
        lab.client.create_repo(source, project_name=lab.project)
        lab.client.create_repo(out, project_name=lab.project)
        lab.client.create_branch(out, "master", provenance=[lab.branch(source)], project_name=lab.project)
    info = lab.client.inspect_branch(source, "master", project_name=lab.project)
    assert [found.repo.name for found in info.subvenance] == [out]
