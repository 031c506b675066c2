from __future__ import annotations

import hashlib
import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.cli import main
from app.errors import KeyFileError
from app.keys import FILE_ENDINGS, SCOPES, SHORTEST, KnownKeys, add_key, read_keys, revoke_key
from app.settings import Settings

ONE, TWO = "first-key-of-all-0123456789", "second/key+of=all-0123456789"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "keys.yaml"


def test_keys_in_the_environment_are_hashed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONRECORD_API_KEYS", f" {ONE}, website:{TWO} ,")
    keys = Settings().api_keys
    assert isinstance(keys, tuple)
    assert [(key.name, key.scopes, key.groups) for key in keys] == [
        ("key 1", SCOPES, frozenset()),
        ("website", SCOPES, frozenset()),
    ]
    assert ONE not in repr(Settings())
    assert TWO not in repr(Settings())
    known = KnownKeys(keys)
    assert known.find(TWO) == keys[1]
    for wrong in ("", "website", TWO[:-1], f"{TWO} ", f"website:{TWO}", TWO.upper(), keys[1].sha256, "ключ"):
        assert known.find(wrong) is None


@pytest.mark.parametrize("empty", ["", " ", ", ,"])
def test_no_keys_are_none(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONRECORD_API_KEYS", empty)
    assert Settings().api_keys is None


@pytest.mark.parametrize(
    "bad",
    [
        *("secret", "a:secret", f"{ONE},{ONE}", f"a:{ONE},a:{TWO}", f"with space:{ONE}", "a long secret with spaces"),
        *("/etc/onrecord/secret.json", "./secret-keys", "~/secret-keys", str(Path(__file__))),
    ],
)
def test_bad_keys_are_refused_and_not_repeated(bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONRECORD_API_KEYS", bad)
    with pytest.raises(ValueError, match="api_keys") as error:
        Settings()
    assert bad not in str(error.value)
    assert "secret" not in str(error.value)
    assert "first-key" not in str(error.value)


@given(st.text(st.characters(codec="ascii", exclude_categories=["C", "Z"], exclude_characters=",:"), min_size=SHORTEST))
def test_whatever_is_a_key_is_known_again(key: str) -> None:
    assume(not key.endswith(FILE_ENDINGS) and not key.startswith(("/", "./", "~")))
    keys = Settings(api_keys=key).api_keys  # type: ignore[arg-type]
    assert isinstance(keys, tuple)
    assert KnownKeys(keys).find(key) == keys[0]


def test_a_key_is_made_followed_and_revoked(path: Path) -> None:
    key, shown = add_key(path, "website", ["ask"], ["board"])
    assert len(shown) > 40
    assert shown not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    known = KnownKeys(path)
    assert known.find(shown) == key
    another, also_shown = add_key(path, "robot", ["ask", "admin"], [])
    assert known.find(also_shown) == another
    assert revoke_key(path, "website")
    assert known.find(shown) is None
    assert known.find(also_shown) == another
    assert not revoke_key(path, "website")
    assert read_keys(path) == (another,)


def test_a_name_is_given_once_and_plain(path: Path) -> None:
    add_key(path, "website", ["ask"], [])
    before = path.read_text()
    for name, groups in (("website", ()), ("address 127.0.0.1", ()), ("", ()), ("ok", ("no, good",)), ("x" * 65, ())):
        with pytest.raises(ValueError, match=r"a key|no name"):
            add_key(path, name, ["ask"], groups)
    assert path.read_text() == before


def test_several_may_make_keys_at_once(path: Path) -> None:
    with ThreadPoolExecutor(8) as makers:
        list(makers.map(lambda number: add_key(path, f"key-{number}", ["ask"], []), range(40)))
    assert {key.name for key in read_keys(path)} == {f"key-{number}" for number in range(40)}


def test_the_file_stays_as_open_as_it_was_made(path: Path) -> None:
    add_key(path, "one", ["ask"], [])
    path.chmod(0o640)
    add_key(path, "two", ["ask"], [])
    assert path.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in path.parent.iterdir()] == ["keys.yaml"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("- name: a\n  key: a-secret-in-clear\n", "sha256"),
        ("- name: a\n  sha256: xyz\n  scopes: [ask]\n", "sha256"),
        (f"- {{name: a, sha256: {'0a' * 32}, scopes: [everything]}}\n", "scopes"),
        (f"- {{name: a, sha256: {'0a' * 32}, scopes: []}}\n", "scopes"),
        (f"- {{name: a, sha256: {'0a' * 32}, scopes: [ask], until: tomorrow}}\n", "until"),
        (f"- {{name: a, sha256: {'0a' * 32}, scopes: [ask]}}\n" * 2, "twice"),
        ("name: a\n", "list"),
        ("- [", "line"),
        ("\x00", "control characters"),
        ("- !!python/object/apply:os.system ['true']", "constructor"),
    ],
)
def test_a_file_that_makes_no_sense_lets_nobody_in(text: str, fault: str, path: Path) -> None:
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(KeyFileError, match=fault) as error:
        KnownKeys(path)
    assert "a-secret-in-clear" not in str(error.value)


def test_a_file_written_by_hand(path: Path) -> None:
    shown = secrets.token_hex(16)
    digest = hashlib.sha256(shown.encode()).hexdigest()
    path.parent.mkdir()
    path.write_text(f"- name: website\n  sha256: {digest}\n  scopes: ask\n  created: 2026-01-31T12:00:00Z\n")
    found = KnownKeys(path).find(shown)
    assert found is not None
    assert (found.name, found.scopes, found.created[:10]) == ("website", {"ask"}, "2026-01-31")


def test_while_the_file_is_broken_or_gone_nobody_knows_and_then_again(path: Path) -> None:
    _, shown = add_key(path, "website", ["ask"], [])
    known, good = KnownKeys(path), path.read_text()
    for breaking in (lambda: path.write_text("- ["), path.unlink):
        breaking()
        for _ in range(2):
            with pytest.raises(KeyFileError):
                known.find(shown)
        path.write_text(good)
        assert known.find(shown)


def test_there_may_be_no_key_left(path: Path) -> None:
    _, shown = add_key(path, "website", ["ask"], [])
    known = KnownKeys(path)
    revoke_key(path, "website")
    assert known.find(shown) is None
    assert KnownKeys(path).find(shown) is None


class TestCommands:
    @pytest.fixture(autouse=True)
    def environment(self, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
        monkeypatch.setenv("ONRECORD_API_KEYS", str(path))

    def run(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["keys", *arguments])
        return code, *capsys.readouterr()

    def json(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
        code, out, _ = self.run(capsys, *arguments, "--json")
        assert code == 0
        return json.loads(out)

    def test_from_making_to_revoking(self, capsys: pytest.CaptureFixture[str], path: Path) -> None:
        assert self.json(capsys, "list") == {"keys": []}
        code, shown, said = self.run(capsys, "add", "website", "--scope", "ask", "--scope", "admin", "--group", "board")
        assert code == 0
        found = KnownKeys(path).find(shown.strip())
        assert found is not None
        assert (found.scopes, found.groups) == ({"ask", "admin"}, {"board"})
        assert "never again" in said
        assert shown.strip() not in said
        made = self.json(capsys, "add", "robot")
        assert (made["scopes"], made["groups"]) == (["ask"], [])
        assert [key["name"] for key in self.json(capsys, "list")["keys"]] == ["website", "robot"]
        assert "admin, ask" in self.run(capsys, "list")[1]
        assert made["key"] not in "".join(map(str, self.run(capsys, "list")))
        assert self.json(capsys, "revoke", "website") == {"revoked": True}
        assert self.run(capsys, "revoke", "website")[0] == 1

    @pytest.mark.parametrize(
        "arguments",
        [("add", "a b"), ("add", "x", "--scope", "all"), ("add", "x", "--group", ""), ("add",), ("revoke",)],
    )
    def test_bad_usage(self, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str], path: Path) -> None:
        assert self.run(capsys, *arguments)[0] == 2
        assert not path.exists()

    @pytest.mark.parametrize("setting", ["", ONE])
    def test_without_a_file(
        self, setting: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ONRECORD_API_KEYS", setting)
        for arguments in (("add", "x"), ("list",), ("revoke", "x")):
            code, _, said = self.run(capsys, *arguments)
            assert code == 2
            assert "ONRECORD_API_KEYS" in said

    def test_where_it_cannot_be_written(self, capsys: pytest.CaptureFixture[str], path: Path) -> None:
        path.parent.write_text("a file, where a folder is wanted")
        code, out, said = self.run(capsys, "add", "x")
        assert code == 1
        assert not out
        assert str(path) in said
