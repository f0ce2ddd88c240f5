"""Files of rows: what is written is read again, and what cannot be read is named by its line."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.errors import Invalid
from windlass.sdk.rowfile import RowFile, read_rows, write_csv

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.one_of(
    TEXT, st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.lists(TEXT, max_size=2), st.dictionaries(TEXT, TEXT, max_size=2)
)
FIELDS = st.one_of(st.sampled_from(["a", "b", "a:json", "c:json:json"]), TEXT).filter(lambda f: f not in ("key", "key:json"))


@given(st.lists(st.tuples(TEXT.filter(bool), st.dictionaries(FIELDS, VALUES, max_size=4)), unique_by=lambda r: r[0]))
def test_csv_holds_any_row(rows: list[tuple[str, dict[str, Any]]]) -> None:
    given = [{"key": key} | fields for key, fields in rows]
    found = read_rows(write_csv(given), "rows.csv")
    assert (found.rows, found.problems) == (given, [])


def test_csv_as_spreadsheets_write_it() -> None:
    text = '\ufeffkey,text\r\na,"two\nlines, and ""quotes"""\r\n\r\nb,\r\nc,one,more\r\nd\r\n'
    found = read_rows(text, "rows.CSV")
    assert found.rows == [{"key": "a", "text": 'two\nlines, and "quotes"'}, {"key": "b", "text": ""}]
    assert found.problems == ["rows.CSV:6: 3 cells, and the first line has 2", "rows.CSV:7: 1 cells, and the first line has 2"]


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ("key;text\na;b\n", "rows.csv:1", "no column key among 'key;text'"),
        ("id,text\na,b\n", "rows.csv:1", "no column key among 'id', 'text'"),
        ("key,a,a:json\nx,1,1\n", "rows.csv:1", "two columns have the same name"),
        ('key,text\na,"never ends\n', "rows.csv:2", "not CSV: unexpected end of data"),
        ("key,text\na,b\nc,d\na,e\n", "rows.csv", "lines 2 and 4 have the same key 'a'"),
        ("key,text\n,b\n", "rows.csv", "line 2 has no key"),
    ],
)
def test_what_is_no_csv_of_rows_is_refused(text: str, where: str, said: str) -> None:
    with pytest.raises(Invalid) as e:
        read_rows(text, "rows.csv")
    assert said in e.value.message and e.value.where == where and e.value.remedy


def test_rows_are_named_by_their_line_and_left_out_where_others_look_at_keys() -> None:
    lines = ['\ufeff{"key": "a"}', "", "broken", '{"key": "a", "n": 2}', '{"key": 7}', "[1]", '{"key": "b"}']
    found = read_rows("\n".join(lines), "rows.jsonl", keyed=False)
    assert [r["key"] for r in found.rows] == ["a", "b"]
    assert [p.removeprefix("rows.jsonl:").strip() for p in found.problems] == [
        "3: not JSON: JSON is malformed: invalid character (byte 0)", "lines 1 and 4 have the same key 'a'", "line 5 has no key",
        "6: a row must be an object, not list",
    ]  # fmt: skip


def test_another_ending_is_refused() -> None:
    with pytest.raises(Invalid, match="neither"):
        read_rows("", "rows.parquet")


LINES = st.lists(
    st.sampled_from(['{"key": "a"}', '{"key": "b", "n": "ü\u2028"}', "a,1", 'b,"two\r\nlines"', '"c\rd",', "", "broken {", "7", ",,"])
)


@given(LINES, st.sampled_from(["\n", "\r\n", "\r"]), st.booleans(), st.sampled_from(["rows.jsonl", "rows.csv"]))
def test_a_file_read_as_it_goes_says_what_one_read_whole_says(lines: list[str], end: str, bom: bool, name: str) -> None:
    text = ("\ufeff" if bom else "") + end.join(["key,n", *lines] if name.endswith("csv") else lines)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(text.encode())
        told: list[str] = []
        file = RowFile(path, told.append)
        try:
            whole = read_rows(text, str(path), keyed=False)
        except Invalid as e:
            with pytest.raises(Invalid) as again:
                list(file)
            assert (again.value.message, again.value.where) == (e.message, e.where)
            return
        assert (list(file), told) == (whole.rows, whole.problems)
        assert file.done == file.size == len(text.encode()) and file.lines.keys() == {r["key"] for r in whole.rows}


def test_bytes_that_are_no_text_are_told_with_their_place(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"key,n\na,\xc3\xa4\nb,\xe4\n")
    with pytest.raises(Invalid, match="byte 0xe4 at offset 13 is not UTF-8"):
        list(RowFile(tmp_path / "a.csv", print))
