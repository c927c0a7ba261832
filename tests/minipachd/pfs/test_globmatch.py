"""The matcher against the regular expressions that a pattern used to be."""

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from minipachd.errors import InvalidError
from minipachd.pfs import Glob, GlobError, globmatch
from tests.minipachd.pfs.regex_globs import translate

TEXTS = st.text("ab/1.", max_size=7).map(lambda text: "/" + text.rstrip("/")).filter(lambda text: text != "/")
PLAIN = st.sampled_from([*"ab1./*?", "**", "[ab]", "[!a]", "[^/]", "[/a]", "[a-b1]", "[[:digit:]]", "[![:alpha:].]", r"\a", r"\*"])


def sequences(alternatives, most):
    return st.lists(alternatives, max_size=most).map("".join)


def brackets(inner):
    choices = st.lists(sequences(inner, 3), min_size=1, max_size=3)
    round_ones = st.tuples(st.sampled_from(["", "@", "?", "*", "+", "!"]), choices).map(lambda made: f"{made[0]}({'|'.join(made[1])})")
    return round_ones | choices.map(lambda made: "{" + ",".join(made) + "}")


PATTERNS = sequences(st.recursive(PLAIN, brackets, max_leaves=6), 6).filter(lambda pattern: pattern.count("*(") + pattern.count("+(") <= 2)
"""Not more loops than that: the regular expressions that the matcher is compared with would never end."""


@settings(max_examples=150, deadline=None)
@example("/*(a|(b)|ab)*(.)", ["/abab.", "/b"])
@example("/+(ab|(a))?(b)", ["/aab", "/abb"])
@example("/*(+(a)1|b)(*)", ["/aa1b1", "/ba1a1"])
@example("/!(a|b){.1,}", ["/a.1", "/b", "/ab"])
@given(PATTERNS, st.lists(TEXTS, min_size=4, max_size=4))
def test_patterns_fit_and_capture_what_their_regular_expressions_do(pattern, texts):
    try:
        expected = translate(pattern)
    except GlobError:
        assume(False)
    with pytest.MonkeyPatch.context() as patch:
        as_it_is = Glob(pattern)
        patch.setattr(globmatch, "_WAYS", 0)
        without_regex = Glob(pattern)
    for text in texts:
        match = expected.fullmatch(text)
        assert [glob.matches(text) for glob in (as_it_is, without_regex)] == [match is not None] * 2
        # Of a loop whose last turn may take nothing a regular expression counts that turn: nobody can want this.
        if match is not None and not any(loop in pattern for loop in ("*(", "+(")):
            template = "|".join(f"${number}" for number in range(1 + expected.groups))
            captured = "|".join([match[0], *match.groups("")])
            assert [glob.expand(text, template) for glob in (as_it_is, without_regex)] == [captured] * 2


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("/*(a|a)b", "/" + "a" * 40, False),
        ("/" + "*a" * 20 + "b", "/" + "a" * 40, False),
        ("/" + "*a" * 20, "/" + "a" * 40, True),
        ("/" + "(a|a)" * 40 + "b", "/" + "a" * 40, False),
        ("/" + "{a,a?}" * 30, "/" + "a" * 29, False),
        ("/" + "?(a)" * 60 + "b", "/" + "a" * 60, False),
        ("/*(*(*(a)))b", "/" + "a" * 200, False),
        ("/+(+(a|aa)|+(a))b", "/" + "a" * 200, False),
        ("/" + "!(a)" * 8 + "b", "/" + "a" * 60, False),
        ("/!(*(a|a)b)c", "/" + "a" * 60 + "c", True),
        ("/" + "*a*/" * 12 + "b", "/" + "aaaa/" * 12 + "c", False),
        ("/" + "**a" * 10 + "b", "/" + "a" * 100, False),
        ("/(*)(*)(*)(*)(*)(*)b", "/" + "a" * 100, False),
    ],
)
def test_no_pattern_takes_exponential_time(pattern, path, fits):
    """Nearly each of these would take a regular expression years."""
    assert Glob(pattern).matches(path) is fits
    Glob(pattern).expand(path, "$1")


def test_a_pattern_and_a_path_that_are_both_out_of_all_proportion_are_refused():
    with pytest.raises(InvalidError, match="too long for a path of 100001 characters"):
        Glob("/" + "*(a)" * 1000).matches("/" + "a" * 100_000)


def test_brackets_nested_without_end_are_refused():
    with pytest.raises(GlobError, match="nested more than 50 deep"):
        Glob("/" + "(" * 1000 + ")" * 1000)
