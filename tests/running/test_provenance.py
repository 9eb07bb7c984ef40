import sys

import pytest

from scalesearch.running.provenance import command


def test_a_databases_password_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "postgresql://me:se:cr%40et@db.example.org/scalesearch"
    monkeypatch.setattr(sys, "argv", ["/usr/bin/scalesearch", "grid", "--storage", address, "--run", "a b"])
    assert command() == "scalesearch grid --storage postgresql://me:***@db.example.org/scalesearch --run 'a b'"
    monkeypatch.setattr(sys, "argv", ["scalesearch", "grid", "--storage", "postgresql://db.example.org:5432/x"])
    assert command() == "scalesearch grid --storage postgresql://db.example.org:5432/x"
