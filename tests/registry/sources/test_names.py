"""`sources.toml`: sources by name, whose secrets stand in the environment and nowhere else."""

from __future__ import annotations

import sys

import pytest
from tests.registry.sources.conftest import Reader

from windlass.core.errors import Invalid, NotFound, Unavailable
from windlass.registry.sources.names import Credentials

SHOP = '[shop]\nurl = "postgresql://db.example/shop"\nuser = "reader"\nenv = "SHOP"\n'


def test_a_name_stands_for_its_address(reader: Reader) -> None:
    reader.named(SHOP)
    spec = reader.spec("shop", table="orders")
    assert (spec.engine, spec.endpoint, spec.source) == ("postgresql", "postgresql://db.example/shop", "shop")
    assert reader.spec("postgresql://db.example/shop", table="orders").source == ""


@pytest.mark.parametrize(
    ("address", "engine"),
    [("postgres://h/d", "postgresql"), ("alloydb://h/d", "postgresql"), ("HTTPS://h/x.csv", "url"), ("bigquery://p", "bigquery"),
     ("/tmp/docs", "folder"), ("~", "folder")],
)  # fmt: skip
def test_the_kind_of_a_source_is_told_by_its_address(reader: Reader, address: str, engine: str) -> None:
    spec = reader.spec(address, table="t" if engine in ("postgresql", "bigquery") else "")
    assert spec.engine == engine
    assert reader.sources.repeatable(spec) == (engine == "bigquery")


def test_the_file_is_read_anew_each_time(reader: Reader) -> None:
    with pytest.raises(NotFound, match="no source is named so"):
        reader.spec("shop", table="orders")
    reader.named(SHOP)
    spec = reader.spec("shop", table="orders")
    reader.named(SHOP.replace("[shop]", "[shops]"))
    with pytest.raises(NotFound, match="did you mean 'shops'"):
        reader.spec("shop", table="orders")
    with pytest.raises(NotFound), reader.sources.read(spec):
        raise AssertionError("its name is gone, and nobody knows who reads it")


def test_a_variable_that_is_not_set_is_named(reader: Reader) -> None:
    reader.named(SHOP)
    spec = reader.spec("shop", table="orders")
    for value in ({}, {"SHOP": ""}):
        reader.environ.clear()
        reader.environ |= value
        with pytest.raises(Unavailable, match="shop cannot be read: SHOP is not set"), reader.sources.read(spec):
            raise AssertionError


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[shop", "not readable as TOML"),
        ("shop = 1", "source 'shop'"),
        ('[shop]\nuser = "x"', "source 'shop'.*url"),
        ('[shop]\nurl = "postgresql://h/d"\npassword = "s3cret"', "source 'shop'.*password"),
        ('[shop]\nurl = "postgresql://u:s3cret@h/d"', "holds a password"),
        ('[shop]\nurl = 1', "source 'shop'.*url"),
        ('[shop]\nurl = "mysql://h/d"', "nothing here reads mysql://"),
        ('[shop]\nurl = "x"\n[shop]\nurl = "y"', "not readable as TOML"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_file(reader: Reader, text: str, said: str) -> None:
    reader.named(text)
    with pytest.raises(Invalid, match=said) as e:
        reader.spec("shop", table="orders")
    assert "s3cret" not in repr(e.value.as_dict())


def test_a_file_that_is_no_text(reader: Reader) -> None:
    (reader.home / "sources.toml").write_bytes(b"\xff")
    with pytest.raises(Invalid, match="not readable as TOML"):
        reader.spec("shop", table="orders")


@pytest.mark.parametrize(
    ("source", "module", "extra"), [("postgresql://h/d", "psycopg", "postgres"), ("bigquery://p", "requests", "bigquery")]
)
def test_a_driver_that_is_not_installed_is_named(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, source: str, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # as Python marks what cannot be imported
    spec = reader.spec(source, table="d.t")
    with pytest.raises(Unavailable, match=rf'pip install "windlass\[{extra}\]"'), reader.sources.read(spec):
        raise AssertionError


def test_a_secret_is_not_shown(reader: Reader) -> None:
    credentials = Credentials("reader", "s3cret")
    assert "s3cret" not in f"{credentials} {credentials!r} {[credentials]}"
    assert credentials.redact("password s3cret, again s3cret") == "password [secret], again [secret]"
    assert Credentials("reader").redact("nothing") == "nothing"
