"""What only spans in DuckDB do: they lie in files, and memory is bounded. `test_spans_stores.py` is what both stores do."""

from __future__ import annotations

from windlass.store.spans_duckdb import DuckSpans


def test_what_memory_cannot_hold_is_laid_into_the_data_folder(tmp_path, monkeypatch) -> None:
    """Not where the server was started: people's questions are in it. What a killed process left there goes."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    left = tmp_path / "spans" / "spill" / "duckdb_temp_storage-0.tmp"
    left.parent.mkdir(parents=True)
    left.write_text("of one that was killed")
    store = DuckSpans(tmp_path / "spans", 64)
    assert not left.exists()
    store._db.execute("SELECT * FROM (SELECT range AS n, repeat(range::VARCHAR, 20) AS t FROM range(1500000)) ORDER BY t").fetchone()
    assert list((tmp_path / "spans" / "spill").glob("duckdb_temp*")) and not list(here.iterdir())
    store.close()
