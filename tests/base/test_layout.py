"""Names of files: in one place, and the way back from a file to its folder."""

import re
from pathlib import Path

import pytest
from conftest import ROOT

from sdd.base import layout
from sdd.base.errors import DataError
from sdd.base.layout import ChainState, Layout


def test_numbers_and_wildcards_give_the_same_paths():
    files = Layout("s")
    for number in (0, 7, 31, 120):
        pattern = files.round("{chain}", "{round}")
        filled = [p.format(chain="a/b", round=f"{number:02d}") for p in pattern]
        assert filled == list(files.round("a/b", number))


def test_what_vouches_for_data_lies_beside_it():
    files = Layout("s")
    for stored in (
        layout.dataset("d"), files.labels("l"), files.round("c", 3),
        files.teacher_logits("t", "none"), files.own_dataset("d"), files.outside_teacher("d/m/n"),
    ):  # fmt: skip
        assert layout.data_of(Path(stored.facts)) == Path(stored.data)


def test_the_root_of_a_file_is_found_wherever_it_lies():
    relative = Layout("s").round("c", 0).facts
    assert layout.root(Path(relative), relative) == Path(".")
    assert layout.root(Path("/far/away", relative), relative) == Path("/far/away")
    with pytest.raises(DataError, match="does not lie where a study keeps it"):
        layout.root(Path("elsewhere/metrics.json"), relative)
    with pytest.raises(DataError):
        layout.root(Path(f"x{relative}"), relative)


def test_different_chains_wait_in_different_folders():
    state = ChainState.of(Path("state"), "a/b/c/d/seed1")
    assert state.folder == Path("state/a--b--c--d--seed1")
    assert state.lock.parent == Path("state") and state.lock != state.folder


def test_no_other_module_writes_a_file_name_of_a_study():
    names = re.compile(
        r"[\"'/](metrics\.json|model\.safetensors|dataset\.json|data\.safetensors|labels\.json|"
        r"logits\.json|teacher\.json|cost\.json|outside\.json|model\.json|rounds\.csv|report\.html)[\"']|parents\["
    )
    for path in [*(ROOT / "sdd").rglob("*.py"), *(ROOT / "workflow" / "rules").glob("*.smk")]:
        if path.name != "layout.py":
            assert not names.findall(path.read_text("utf-8")), path
