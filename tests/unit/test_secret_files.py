"""Secrets that lie in files."""

import os
from pathlib import Path

import pytest

from db.settings import DatabaseSettings
from environment.errors import Misconfigured
from environment.secret_files import from_file, unfold

URL = "postgresql://u:s3same@h/x"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DATABASE_URL", "")
    file = tmp_path / "url"
    monkeypatch.setenv("DATABASE_URL_FILE", str(file))
    return file


def test_a_file_holds_what_the_variable_would(file: Path) -> None:
    file.write_text(f"{URL}\n")
    assert DatabaseSettings().url == from_file("DATABASE_URL") == URL
    assert DatabaseSettings(url="sqlite:///other.db").url == "sqlite:///other.db"
    unfold()
    assert (os.environ["DATABASE_URL"], os.environ.get("DATABASE_URL_FILE")) == (URL, None)


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", f"{URL}\n{URL}\n".encode(), b"x" * 100_000])
def test_a_file_that_holds_something_else_is_refused_and_not_shown(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(Misconfigured, match="DATABASE_URL_FILE") as refused:
        DatabaseSettings()
    assert "s3same" not in str(refused.value)


def test_a_variable_beside_its_file_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(URL)
    monkeypatch.setenv("DATABASE_URL", URL)
    with pytest.raises(Misconfigured, match="both set"):
        DatabaseSettings()
