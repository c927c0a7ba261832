from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.common.errors import RejectedImageError
from stages.common.names import parse_image_name
from stages.contract.names import BadNameError, ImageName, is_output_name, rank_in_second, seconds_of, shown, time_in_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dev1_1511891098.jpg", ImageName("dev1", "1511891098", "jpg")),
        ("front_door_1511891098.jpeg", ImageName("front_door", "1511891098", "jpeg")),
        ("a.b-c_0000000001.png", ImageName("a.b-c", "0000000001", "png")),
        ("dev1_253402300799.png", ImageName("dev1", "253402300799", "png")),
    ],
)
def test_names_of_ours(name, expected):
    assert parse_image_name(name) == expected


def test_the_time_of_a_name():
    assert parse_image_name("dev1_1511891098.jpg").taken_at == datetime(2017, 11, 28, 17, 44, 58, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("dev1_1511891098.jpg", 1511891098),
        ("dev1_1511891098.jpeg", 1511891098),
        ("dev1_0001511891.png", 1511891),
        ("d_99999999999.png", 99999999999),
    ],
)
def test_output_names_tell_the_time(name, seconds):
    assert seconds_of(parse_image_name(name).output_name) == seconds
    assert time_in_name(name) == seconds


@pytest.mark.parametrize(
    "name",
    [
        "",
        "_png",
        "15118_png",
        "1511891098_jpg",
        "1511891098_gif",
        "1511891098.png",
        "-1511891098",
        "١٥١١٨٩١٠٩٨",
        "253402300800",
        "9" * 5000,
    ],
)
def test_other_names_tell_no_time(name):
    assert seconds_of(name) is None


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("blah.jpg", "bad-name"),
        ("dev1_151189109.jpg", "bad-name"),  # nine digits
        ("dev1_1511891098.gif", "bad-name"),
        ("dev1_1511891098.jpg\n", "bad-name"),
        ("_1511891098.jpg", "bad-name"),
        (".._1511891098.jpg", "bad-name"),
        ("dev 1_1511891098.jpg", "bad-name"),
        ("bür0_1511891098.jpg", "bad-name"),
        ("dev1_١٥١١٨٩١٠٩٨.jpg", "bad-name"),  # digits, but not ASCII's
        (f"{'d' * 65}_1511891098.jpg", "bad-name"),
        ("dev1_1511891098000.jpg", "bad-timestamp"),  # milliseconds
        (f"dev1_{'9' * 300}.jpg", "bad-timestamp"),
    ],
)
def test_other_names_are_rejected_with_a_code(name, code):
    with pytest.raises(RejectedImageError) as caught:
        parse_image_name(name)
    assert caught.value.code == code
    assert str(caught.value).isprintable()


@given(st.text(max_size=400))
def test_any_text_is_a_name_or_rejected(text):
    try:
        name = parse_image_name(text)
    except RejectedImageError:
        return
    assert f"{name.device}_{name.timestamp}.{name.extension}" == text
    assert name.taken_at.year <= 9999


@given(st.text(max_size=400))
def test_shown_text_is_one_short_printable_line(text):
    assert shown(text).isprintable()
    assert len(shown(text)) <= 120


def test_output_names_of_a_second_stand_as_a_listing_has_them():
    names = [ImageName("dev1", "1511891098", extension).output_name for extension in ("png", "jpg", "jpeg")]
    assert all(is_output_name(name) for name in names)
    assert sorted(names, key=rank_in_second) == [name.removesuffix(".json") for name in sorted(f"{name}.json" for name in names)]


@pytest.mark.parametrize(
    ("name", "seconds"), [("Front Door_1511891098.JPG", 1511891098), ("x_1511891098.gif", 1511891098), ("_1511891098.jpg", 1511891098)]
)
def test_a_name_with_other_faults_tells_its_time_all_the_same(name, seconds):
    assert time_in_name(name) == seconds


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("blah.jpg", "bad-name"),
        ("dev1_15118910.jpg", "bad-name"),
        ("dev1_1511891098000.jpg", "bad-timestamp"),
        ("dev1_202611221905.jpg", "bad-timestamp"),
    ],
)
def test_a_name_without_a_time_has_a_code(name, code):
    with pytest.raises(BadNameError) as caught:
        time_in_name(name)
    assert caught.value.code == code
    assert name not in caught.value.why
