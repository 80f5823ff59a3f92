import sys

import numpy as np
import pytest

from edge.control.step_times import StepTimes, TimeHistogram


def counted(times_ns: list[int]) -> TimeHistogram:
    histogram = TimeHistogram()
    for time_ns in times_ns:
        histogram.add(time_ns)
    return histogram


@pytest.mark.parametrize("percent", [1.0, 50.0, 99.0, 99.9, 100.0])
def test_percentiles_are_those_of_the_times_within_half_a_percent(
    percent: float,
) -> None:
    random = np.random.default_rng(0)
    drawn = np.exp(random.uniform(0, np.log(1e10), 20_000)).astype(np.int64)
    histogram = counted(drawn.tolist())
    exact_ns = np.percentile(drawn, percent, method="inverted_cdf")
    assert histogram.count == 20_000
    assert histogram.percentile_us(percent) * 1e3 == pytest.approx(exact_ns, rel=0.004)
    assert histogram.longest_us == drawn.max() / 1e3


def test_times_below_256_ns_are_kept_exactly() -> None:
    histogram = counted(list(range(1, 201)))
    assert histogram.percentile_us(50.0) == 0.1
    assert histogram.percentile_us(99.5) == 0.199


def test_times_beyond_every_bucket_and_before_zero_are_counted() -> None:
    histogram = counted([-5, 2**60])
    assert histogram.count == 2
    assert histogram.percentile_us(50.0) == 0.0
    assert histogram.longest_us == 2**60 / 1e3


def test_no_time_has_no_length() -> None:
    assert TimeHistogram().percentile_us(99.0) == 0.0
    assert TimeHistogram().longest_us == 0.0
    with pytest.raises(ValueError, match="above 0 to 100"):
        TimeHistogram().percentile_us(0.0)


def test_two_histograms_add_up_to_one_of_the_same_size() -> None:
    random = np.random.default_rng(1)
    drawn = random.integers(0, 10**7, 1000).tolist()
    both, whole = StepTimes(), counted(drawn)
    before = sys.getsizeof(both.work._counts)
    for half in (drawn[:300], drawn[300:]):
        both.merge(StepTimes(work=counted(half)))
    assert both.work.percentile_us(99.0) == whole.percentile_us(99.0)
    assert (both.work.count, both.work.longest_us) == (1000, whole.longest_us)
    assert (both.latency.count, both.jitter.count) == (0, 0)
    assert sys.getsizeof(both.work._counts) == before
