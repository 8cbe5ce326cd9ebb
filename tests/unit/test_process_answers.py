"""What is remembered of words is what would be found out again, and there is never too much of it."""

import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given, strategies as st

from tasks.processors.answers import FEW, LONG, Answers, matching
from tests.examples import examples

WORD = st.sampled_from(["", "/a/1", "/a/2", "é", "GET /a", "nul\0", "l" * (LONG + 1)]) | st.text(max_size=3)


@given(st.lists(st.lists(WORD, unique=True, max_size=8), max_size=8), st.integers(1, 12))
@examples(100)
def test_answers_are_those_of_who_is_asked(windows: list[list[str]], most: int) -> None:
    answers = Answers(most)
    for window in windows:
        words = pa.array(window, pa.string())
        for rule, ask in (("upper", pc.utf8_upper), ("lower", pc.utf8_lower)):
            assert answers.to((rule,), words, ask).equals(ask(words))
        assert matching(words, "[/é]").equals(pc.match_substring_regex(words, pattern="[/é]"))
        assert answers.held <= most + FEW


def test_words_are_asked_about_once_and_again_when_they_were_forgotten() -> None:
    asked: list[list[str]] = []

    def ask(words: pa.Array) -> pa.Array:
        asked.append(words.to_pylist())
        return pc.utf8_length(words).cast(pa.int64())

    answers = Answers(4)
    for window in (["a", "b"], ["b", "c"], ["a", "c"], ["d", "e"], ["e", "a"]):
        answers.to(("length",), pa.array(window), ask)
    assert asked == [["a", "b"], ["c"], ["d", "e"], ["a"]]
    assert answers.held == 3


def test_many_words_and_long_words_are_not_remembered() -> None:
    answers = Answers()
    many = pa.array(list(map(str, range(FEW + 1))))
    assert len(answers.to(("upper",), many, pc.utf8_upper)) == FEW + 1
    answers.to(("upper",), pa.array(["x" * (LONG + 1), "y"]), pc.utf8_upper)
    assert answers.held == 0
