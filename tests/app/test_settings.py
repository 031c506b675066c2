from __future__ import annotations

from pathlib import Path

import pytest

from app.settings import read_settings


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "onrecord_widget_origins").write_text("https://a.example\n")
    (folder / "OPENAI_API_KEY").write_text("sk-from-a-file\n")
    (folder / "ONRECORD_STORE").write_text("postgresql://onrecord:word@db.example/onrecord\n")
    (folder / "unknown").write_text("nobody's")
    return folder


def test_what_the_environment_lacks_is_read_from_files(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    settings = read_settings(secrets=secrets)
    assert settings.widget_origins == ("https://a.example",)
    assert settings.openai_api_key is not None
    assert settings.openai_api_key.get_secret_value() == "sk-from-a-file"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-the-environment")
    again = read_settings(secrets=secrets)
    assert again.openai_api_key is not None
    assert again.openai_api_key.get_secret_value() == "sk-from-the-environment"


def test_an_index_that_is_named_is_asked_in_place_of_a_server(secrets: Path, tmp_path: Path) -> None:
    assert read_settings(secrets=secrets).store is not None
    settings = read_settings(tmp_path, secrets)
    assert (settings.index_dir, settings.store) == (tmp_path, None)


def test_without_such_files_nothing_is_missed(tmp_path: Path) -> None:
    assert read_settings(secrets=tmp_path / "none").index_dir == Path("index/snapshots")
