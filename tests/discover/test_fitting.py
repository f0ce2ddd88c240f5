"""What fits: nothing that is not known passes a filter; cursors that are not ours are refused."""

from __future__ import annotations

import pytest

from windlass.core.errors import Invalid
from windlass.core.operations.discover import CatalogEntry, CatalogQuery, ModelFacts, Places
from windlass.discover.fitting import affordable, cursor, fits, ordering, position, stays_in

LUMEN = ModelFacts("acme", "lumen-1", "Lumen One", "lumen", context=1000, can=("tools", "vision"), open_weights=True, licence="MIT")
BLANK = ModelFacts("acme", "blank")


@pytest.mark.parametrize(
    "query",
    [
        CatalogQuery(search="one lumen"), CatalogQuery(search="ACME/lum"), CatalogQuery(provider="acme"), CatalogQuery(min_context=1000),
        CatalogQuery(can=("tools",)), CatalogQuery(can=("vision", "tools")), CatalogQuery(licence="mit"), CatalogQuery(open_weights=True),
    ],
)  # fmt: skip
def test_what_is_known_passes_and_what_is_not_does_not(query: CatalogQuery) -> None:
    assert fits(LUMEN, query)
    assert fits(BLANK, query) is (query.provider == "acme")


@pytest.mark.parametrize(
    "query",
    [
        CatalogQuery(search="lumen two"), CatalogQuery(provider="acm"), CatalogQuery(min_context=1001),
        CatalogQuery(can=("tools", "audio")), CatalogQuery(licence="Apache-2.0"), CatalogQuery(open_weights=False),
        CatalogQuery(region="EU"),
    ],
)  # fmt: skip
def test_what_does_not_fit(query: CatalogQuery) -> None:
    assert not fits(LUMEN, query)


@pytest.mark.parametrize(
    ("default", "choices", "stays", "goes"),
    [
        (("FR",), (), ["FR", "fr", "EU", "eu", "EEA+CH", "Europe"], ["DE", "US"]),
        (("EU",), (), ["EU", "Europe"], ["FR", "US"]),
        (("any",), ("EEA+CH", "US"), ["US", "EEA+CH", "europe"], ["EU", "CH"]),
        (("FR", "US"), (), [], ["FR", "US", "EU"]),
        (("any",), (), [], ["EU", "US"]),
        ((), (), [], ["EU"]),
    ],
)
def test_data_stays_where_all_of_it_goes_or_where_one_can_keep_it(
    default: tuple[str, ...], choices: tuple[str, ...], stays: list[str], goes: list[str]
) -> None:
    places = Places("https://example.org", "2026-01-01", default, choices)
    assert all(stays_in(places, region) for region in stays)
    assert not any(stays_in(places, region) for region in goes)
    assert not stays_in(None, "EU")


def test_an_unknown_price_is_neither_low_nor_high() -> None:
    query = CatalogQuery(max_input_price=1.0, max_output_price=2.0)
    assert affordable(CatalogEntry("a", LUMEN, True, "", 1.0, 2.0), query) == "yes"
    assert affordable(CatalogEntry("a", LUMEN, True, "", 0.5, 2.1), query) == "no"
    assert affordable(CatalogEntry("a", LUMEN, True, "", 0.5), query) == "unpriced"
    assert affordable(CatalogEntry("a", LUMEN, True, "", 1.5), query) == "no", "the price that is known is too high already"
    assert affordable(CatalogEntry("a", LUMEN, True), CatalogQuery()) == "yes"


def test_what_is_not_known_comes_last() -> None:
    new = ModelFacts("acme", "new", context=5000, released="2026-03")
    entries = [CatalogEntry("blank", BLANK, True), CatalogEntry("new", new, True, "", 2.0), CatalogEntry("lumen", LUMEN, True, "", 1.0)]

    def names(sort: str) -> list[str]:
        return [e.id for e in sorted(entries, key=ordering(sort))]  # type: ignore[arg-type]

    assert names("price") == ["lumen", "new", "blank"]
    assert names("context") == ["new", "lumen", "blank"]
    assert names("released") == ["new", "blank", "lumen"]
    assert names("id") == ["blank", "lumen", "new"]


@pytest.mark.parametrize("key", [(0.1 + 0.2, "a/b:c"), (float("inf"), "x/y~z"), (-1048576.0, "z")])
def test_a_cursor_is_its_key_again(key: tuple[float, str]) -> None:
    assert position(cursor(key)) == key


@pytest.mark.parametrize("given", ["", "x", "1.0", "1.0:", "nan:a", ":a", "one:a"])
def test_a_cursor_of_somebody_elses_is_refused(given: str) -> None:
    with pytest.raises(Invalid, match="not one of ours"):
        position(given)
