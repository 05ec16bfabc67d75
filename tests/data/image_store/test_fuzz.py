"""Sixty odd and damaged files of benchmarks/fuzz_reading.py: none crashes, hangs, or is read as something else."""

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FILES = 60


@pytest.fixture
def fuzz(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield importlib.import_module("fuzz_reading")
    for name in ("fuzz_reading", "_cases", "_damage", "_deep_files", "_odd_files", "_image_writers"):
        sys.modules.pop(name, None)


@pytest.mark.timeout(60)
def test_odd_and_damaged_files_are_read_right_or_refused_with_a_reason(fuzz, tmp_path):
    outcomes = []
    for number in range(FILES):
        case = fuzz.make_case(seed=0, number=number)
        (tmp_path / str(number)).mkdir()
        outcomes.append((number, case.odd.kind, *fuzz.outcome(case, tmp_path / str(number))))
    assert [found for found in outcomes if found[2] in fuzz.FAILURES] == []
    assert {found[2] for found in outcomes} >= {"read", "read, notice", "refused"}


def test_two_unreadable_files_of_twenty_stop_the_set(fuzz, tmp_path):
    cases = [fuzz.make_case(seed=0, number=number) for number in range(40)]
    broken = next(case for case in cases if case.odd.pixels is None and not case.damage)
    assert fuzz.stops([broken, broken], tmp_path)
