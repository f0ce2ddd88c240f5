"""Numbers and times as people read them."""

import pytest

from windlass.core.operations.traces import ScoreGiven
from windlass.doors import format as words

S = 1_000_000_000


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "now"),
        (5, "5 s ago"),
        (65, "1 min ago"),
        (7200, "2 h ago"),
        (86400 * 9, "9 d ago"),
        (86400 * 45, "1 mo ago"),
        (86400 * 800, "2 y ago"),
        (-180, "in 3 min"),
    ],
)
def test_ago(seconds: float, text: str) -> None:
    assert words.ago(0, int(seconds * S)) == text


@pytest.mark.parametrize(
    ("ns", "text"),
    [(None, "unmeasured"), (400, "0 µs"), (2_500_000, "2.5 ms"), (412e6, "412 ms"), (1.24e9, "1.24 s"), (185e9, "3 min 5 s")],
)
def test_duration(ns: float | None, text: str) -> None:
    assert words.duration(ns) == text


@pytest.mark.parametrize(
    ("amount", "text"), [(None, "unknown"), (0, "$0.00"), (12.3, "$12.30"), (0.0042, "$0.0042"), (0.00000123, "$1.2e-06")]
)
def test_dollars_never_show_an_unknown_price_as_nothing(amount: float | None, text: str) -> None:
    assert words.dollars(amount) == text


def test_scores_and_points() -> None:
    assert words.score(None) == words.points(None) == "unmeasured"
    assert (words.score(0.857), words.points(0.0512), words.points(-0.019)) == ("0.86", "+5.1", "−1.9")


def test_stamp_size_and_short_names() -> None:
    assert words.stamp(1_764_000_000_123_000_000) == "2025-11-24T16:00:00.123Z"
    assert (words.size(999), words.size(3_400_000)) == ("999 B", "3.4 MB")
    assert words.short_ref("chain/answer@sha256:" + "5d22ab" + "0" * 58) == "chain/answer@5d22ab"
    assert words.short_ref("chain/answer:main") == "chain/answer:main"


def test_so_many_of_something() -> None:
    assert [words.many(n, "answer") for n in (0, 1, 2, 2000)] == ["0 answers", "1 answer", "2 answers", "2,000 answers"]
    assert [words.many(2, what) for what in ("query", "day", "older version")] == ["2 queries", "2 days", "2 older versions"]


def test_what_somebody_said_something_was_worth() -> None:
    said = [words.worth(ScoreGiven("x", 0, value, given=True)) for value in (True, False, 4.0, 0.25, 1 / 3, -1e12, "plain", None)]
    assert said == ["yes", "no", "4", "0.25", "0.3333", "-1e+12", "plain", ""]
    assert words.worth(ScoreGiven("x", 0)) == "unmeasured", "a judge's"


def test_a_number_where_there_is_little_room() -> None:
    assert [words.compact(n) for n in (0, 0.25, 950, 999.6, 1234, 999_950, 3_400_000, 2.5e9)] == [
        "0", "0.25", "950", "1k", "1.23k", "1M", "3.4M", "2.5G",
    ]  # fmt: skip


def test_how_long_a_bucket_is() -> None:
    assert [words.length(s * 10**9) for s in (90, 60, 1800, 10_800, 86_400, 129_600)] == ["90 s", "1 min", "30 min", "3 h", "1 d", "36 h"]


def test_a_text_in_one_line_and_a_value_in_a_cell() -> None:
    assert words.line("a\n  b", 9) == "a b" and words.line("abcdef", 4) == "abc…"
    cells = [words.cell(v) for v in (0.1 + 0.2, 8.776669999999998, 0.0, 1e21, 3, None, True, "x")]
    assert cells == ["0.3", "8.77667", "0", "1e+21", "3", "", "True", "x"]
