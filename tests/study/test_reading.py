"""Config files: what is laid over what, and what YAML would take without a word."""

from pathlib import Path

import pytest

from sdd.base.errors import StudyError
from sdd.study import reading


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(text, "utf-8")
    return path


def test_dictionaries_merge_and_lists_are_replaced(tmp_path):
    base = written(tmp_path, "a: {x: 1, y: [1, 2]}\nb: 1\n")
    over = tmp_path / "over.yaml"
    over.write_text("a: {y: [3]}\n")
    assert reading.read([over], base) == {"a": {"x": 1, "y": [3]}, "b": 1}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seeds: [1]\nstudy: a\nseeds: [2]\n", "'seeds' stands in line 1 and again in line 3"),
        ("pruning:\n  rounds: 2\n  rounds: 3\n", "'rounds' stands in line 2 and again in line 3"),
        ("seeds: [1, 010]\n", "line 1: YAML takes 010 for an octal number. Write 10"),
        ("seeds: [07]\n", "Write 7"),
        ("- a\n", "holds no keys"),
        ("a: [\n", "cannot be read"),
        ("[1]: 2\n", "a key is a name, not list"),
        ("a: " + "[" * 5000 + "]" * 5000, "cannot be read"),
    ],
)
def test_what_says_something_twice_or_in_secret_is_refused(tmp_path, text, words):
    with pytest.raises(StudyError, match=f"(?s)study.yaml.*{words}"):
        reading.load(written(tmp_path, text))


def test_anchors_and_merge_keys_stay(tmp_path):
    path = written(tmp_path, "a: &a {x: 1}\nb: {<<: *a, x: 2, y: 0}\nc: *a\n")
    assert reading.load(path) == {"a": {"x": 1}, "b": {"x": 2, "y": 0}, "c": {"x": 1}}


def test_a_file_that_is_none_is_named(tmp_path):
    with pytest.raises(StudyError, match=r"There is no .*config\.yaml"):
        reading.read(base=tmp_path / "config.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9\n")
    with pytest.raises(StudyError, match=r"latin\.yaml cannot be read"):
        reading.load(tmp_path / "latin.yaml")


def test_lists_from_the_command_line_hold_numbers_again():
    given = {"seeds": ["1", "2"], "pruning": {"fraction": "0.5"}, "study": "1e-4"}
    assert reading.typed(given) == {
        "seeds": [1, 2], "pruning": {"fraction": 0.5}, "study": "1e-4",
    }  # fmt: skip
