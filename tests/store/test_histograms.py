"""Histograms added, taken apart and estimated from: by properties, and against NumPy on values that are known."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics._internal.exponential_histogram.mapping.exponent_mapping import ExponentMapping
from opentelemetry.sdk.metrics._internal.exponential_histogram.mapping.logarithm_mapping import LogarithmMapping

from windlass.store.histograms import SHARES, Explicit, Exponential, added, less, quantiles, read, written

BOUNDS = (0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0)
values = st.lists(st.floats(0.001, 5000, allow_nan=False), min_size=1, max_size=60)
signed = st.lists(st.floats(-5000, 5000, allow_nan=False).map(lambda v: round(v, 3)), min_size=1, max_size=60)
some_bounds = st.lists(st.sampled_from(BOUNDS), min_size=1, unique=True).map(lambda b: tuple(sorted(b)))


def explicit(data: list[float], bounds: tuple[float, ...] = BOUNDS) -> Explicit:
    counts = [0] * (len(bounds) + 1)
    for value in data:
        counts[bisect_left(bounds, value)] += 1
    return Explicit(bounds, tuple(counts))


def exponential(data: list[float], scale: int = 4) -> Exponential:
    """By OpenTelemetry's own mapping of values to indexes."""
    mapping = LogarithmMapping(scale) if scale > 0 else ExponentMapping(scale)
    sides = Counter(mapping.map_to_index(v) for v in data if v > 0), Counter(mapping.map_to_index(-v) for v in data if v < 0)
    return Exponential(scale, sum(v == 0 for v in data), 0.0, *map(dict, sides))


@given(values, values, some_bounds, some_bounds)
def test_what_is_added_is_the_histogram_of_both(a, b, mine, theirs):
    made = added(explicit(a, mine), explicit(b, theirs))
    common = tuple(sorted({*mine} & {*theirs}))
    assert made == (explicit(a + b, common) if common else None)


@given(signed, signed, st.integers(-2, 6), st.integers(-2, 6))
def test_exponential_ones_are_added_at_the_coarser_scale(a, b, mine, theirs):
    assert added(exponential(a, mine), exponential(b, theirs)) == exponential(a + b, min(mine, theirs))


@given(signed, signed, st.integers(-2, 6), st.integers(0, 4))
def test_what_came_between_is_the_difference(before, then, scale, finer):
    assert less(exponential(before + then, scale), exponential(before, scale + finer)) == exponential(then, scale)
    assert less(explicit(before + then), explicit(before)) == explicit(then)


def test_what_cannot_be_told_is_not_told():
    a = explicit([1.0, 7.0])
    assert less(explicit([1.0]), a) is None, "it has shrunk"
    assert less(explicit([1.0, 7.0, 8.0], (5.0,)), a) is None, "its bounds are others"
    assert added(a, exponential([1.0])) is None
    assert less(exponential([1.0]), exponential([1.0, 2.0])) is None
    assert quantiles(Explicit((), (7,))) is None, "all in one bucket without bounds"
    assert quantiles(Explicit((5.0,), (0, 0))) is None


@given(values)
def test_an_estimate_lies_in_the_bucket_of_the_true_quantile(data):
    """The quantile that is the smallest value with at least that share at or below it (NumPy's `inverted_cdf`)."""
    truth = np.quantile(data, SHARES, method="inverted_cdf")
    told = quantiles(explicit(data), min(data), max(data))
    for true, estimate in zip(truth, (told.p50, told.p90, told.p95, told.p99), strict=True):
        at = bisect_left(BOUNDS, true)
        assert (BOUNDS[at - 1] if at else min(data)) <= estimate <= (BOUNDS[at] if at < len(BOUNDS) else max(data))


@given(signed)
@settings(max_examples=60)
def test_an_exponential_estimate_is_off_by_no_more_than_a_bucket(data):
    base = 2 ** (2**-4)
    told = quantiles(exponential(data), min(data), max(data))
    for true, estimate in zip(np.quantile(data, SHARES, method="inverted_cdf"), (told.p50, told.p90, told.p95, told.p99), strict=True):
        if true == 0:
            assert estimate == 0
        else:
            assert 1 / base <= estimate / true <= base or math.isclose(estimate / true, base)


@pytest.mark.parametrize("draw", ["exponential", "lognormal", "uniform"])
def test_many_values_are_estimated_closely(draw):
    data = getattr(np.random.default_rng(7), draw)(size=20_000) * 100
    truth = np.quantile(data, SHARES)
    fine = quantiles(exponential(data.tolist(), 5), data.min(), data.max())
    assert np.allclose((fine.p50, fine.p90, fine.p95, fine.p99), truth, rtol=0.011), "half a bucket of scale 5"
    if draw == "uniform":  # as explicit buckets take what is in them to be
        coarse = quantiles(explicit(data.tolist()), data.min(), data.max())
        assert np.allclose((coarse.p50, coarse.p90, coarse.p95, coarse.p99), truth, rtol=0.01)


def test_a_uniform_bucket_is_divided_linearly():
    """As Prometheus' documentation of histogram_quantile says: linear within a bucket, the first from 0, the last bound of the last."""
    told = quantiles(Explicit((10.0, 20.0), (50, 50, 0)))
    assert (told.p50, told.p90) == (10.0, 18.0)
    assert quantiles(Explicit((10.0,), (0, 4))).p50 == 10.0
    assert quantiles(Explicit((10.0,), (4, 0))).p50 == 5.0


@given(signed)
def test_it_is_read_as_it_was_written(data):
    for shape in (explicit(data), exponential(data)):
        assert read(written(shape)) == shape
    assert read(None) is None and read('{"quantiles":[[0.5,1]]}') is None


def test_the_ends_of_the_scale_are_numbers():
    shape = Exponential(-10, 0, 0.0, {0: 1, -1: 1}, {})
    assert all(math.isfinite(v) for v in (quantiles(shape).p50, quantiles(shape).p99))
