from laptop.table import render

SUMMARY = {
    "images": {"valid": ["dev1_1511891098.jpg"], "invalid": ["blah.jpg"]},
    "detections": {"dev1_1511891098.jpg": [{"class": 1, "label": "person", "score": 0.9, "box": [1, 2, 3, 4]}]},
    "threats": {"dev1": 1},
    "plot": "threats.png",
    "jobs": {"validate": {"state": "success", "processed": 2, "skipped": 0, "failed": 0, "seconds": 0.25}},
}


def test_a_person_sees_counts_names_and_times() -> None:
    text = render(SUMMARY)

    assert "invalid  1  blah.jpg" in text
    assert "person    1" in text
    assert "dev1     1" in text
    assert "validate  success  2          0        0       0.25" in text


def test_a_run_that_finds_nothing_says_so() -> None:
    text = render({**SUMMARY, "detections": {}, "threats": {}})

    assert "nothing detected" in text
    assert "no threats" in text
