"""Server-sent events, cut anywhere, against the rules of the HTML standard written a second time."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from windlass.runtime.models.http import EventReader

LINE = st.one_of(
    st.text("ab: ü日🚀\u2028{}", max_size=8).map(lambda t: f"data: {t}"),
    st.text("ab", max_size=3).map(lambda t: f"data:{t}"),
    st.sampled_from(["event: ping", "event:x", ": keep-alive", ":", "id: 1", "retry: 5", "data", "other: y"]),
)


def by_the_standard(text: str) -> list[tuple[str, bytes]]:
    """Events that have data; a field without a colon is one without a value, which this reader need not know."""
    found, name, data = [], "", []
    for line in re.split(r"\r\n|\n|\r", text.removeprefix("\ufeff")):
        if not line:
            found += [(name, "\n".join(data).encode())] if data else []
            name, data = "", []
        elif line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif line.startswith("event:"):
            name = line[6:].strip()
    return found


@given(
    st.lists(st.lists(LINE, min_size=1, max_size=3), max_size=4), st.sampled_from(["\n", "\r\n", "\r"]), st.booleans(),
    st.lists(st.integers(0, 400), max_size=12),
)  # fmt: skip
def test_events_are_the_same_wherever_they_are_cut(events: list[list[str]], end: str, mark: bool, places: list[int]) -> None:
    text = ("\ufeff" if mark else "") + "".join(end.join(lines) + end + end for lines in events)
    data = text.encode()
    places = sorted(p % (len(data) + 1) for p in places)
    reader = EventReader()
    found = [e for a, b in zip([0, *places], [*places, len(data)], strict=True) for e in reader.feed(data[a:b])] + reader.end()
    assert found == by_the_standard(text)
    reader = EventReader()
    assert [e for i in range(len(data)) for e in reader.feed(data[i : i + 1])] + reader.end() == found


def test_a_last_event_may_want_its_empty_line_but_not_its_own_end() -> None:
    for end in ("\n", "\r\n", "\r"):
        reader = EventReader()
        assert reader.feed(f"data: a{end}{end}data: b{end}".encode()) == [("", b"a")] and reader.end() == [("", b"b")]
    reader = EventReader()
    assert reader.feed(b"data: a\n\ndata: {half") == [("", b"a")] and reader.end() == []
