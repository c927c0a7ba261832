"""What somebody sends, or writes into a spec, that would keep the server busy for ever."""

from tests.minipachd.pps.lab import JobState, Lab, counts, pfs


def test_a_glob_with_exponentially_many_ways_to_match_stands_nobody_still(own_lab: Lab) -> None:
    lab = own_lab
    lab.repo()
    patterns = ["/*(a|a)b", "/" + "*a" * 20 + "b"]
    lab.pipeline("copy", "cp $in $PFS_ROOT/out/")
    for number, pattern in enumerate(patterns):
        lab.pipeline(f"hostile{number}", "true", reads=pfs("in", pattern))

    jobs = lab.run({"/" + "a" * 40: "1"})

    assert [list(lab.client.glob_file(("in", "master"), pattern)) for pattern in patterns] == [[], []]
    assert {name: job.state for name, job in jobs.items()} == dict.fromkeys(("copy", "hostile0", "hostile1"), JobState.JOB_SUCCESS)
    lab.engine.kill()
    lab.engine.start()
    assert counts(lab.run({"/b": "1"})["copy"]) == {"processed": 1, "skipped": 1, "total": 2}
