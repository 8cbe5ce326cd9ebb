"""Functions that are compiled: the same results, with and without a folder for what was compiled."""

from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from tasks.decoders import kernels


def _twice(number: int) -> int:
    return 2 * number


def _thrice(number: int) -> int:
    return 3 * number


def _sum(values: Any) -> int:
    total = 0
    for value in values:
        total += _twice(value) + OFFSET
    return total


OFFSET = 1
VALUES = np.arange(10)


def test_a_kernel_gives_what_its_function_gives_and_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    assert kernels.compiled(_sum, VALUES)(VALUES) == _sum(VALUES) == 100
    assert list(tmp_path.rglob("*.nbc"))


def test_what_was_kept_is_not_used_after_a_function_that_it_calls_or_a_number_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    assert kernels.compiled(_sum, VALUES)(VALUES) == 100
    monkeypatch.setitem(globals(), "_twice", _thrice)
    assert kernels.compiled(_sum, VALUES)(VALUES) == _sum(VALUES) == 145
    monkeypatch.setitem(globals(), "OFFSET", 2)
    assert kernels.compiled(_sum, VALUES)(VALUES) == _sum(VALUES) == 155


@pytest.mark.parametrize("spoil", ["no folder", "torn index"])
def test_a_cache_that_is_of_no_use_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: str
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    if spoil == "no folder":
        (tmp_path / "cache").write_text("a file")
    else:
        kernels.compiled(_sum, VALUES)
        for index in tmp_path.rglob("*.nbi"):
            index.write_bytes(index.read_bytes()[:20])
    assert kernels.compiled(_sum, VALUES)(VALUES) == 100
