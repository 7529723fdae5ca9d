"""Token buckets: full at first, never more than their limit, never more given than came."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.http.token_bucket import TokenBucket


@given(
    limit=st.integers(1, 50),
    rate=st.floats(0.01, 100),
    pauses=st.lists(st.floats(0, 10), max_size=60),
)
def test_no_more_than_limit_and_rate_allow(limit: int, rate: float, pauses: list[float]) -> None:
    now, taken = 0.0, 0
    bucket = TokenBucket(limit, rate, now)
    for pause in pauses:
        now += pause
        taken += bucket.take(now)
        assert taken <= limit + now * rate + 1e-6
        assert 0 <= bucket.remaining(now) <= limit


@given(limit=st.integers(1, 20), rate=st.floats(0.01, 100))
def test_the_announced_time_is_long_enough(limit: int, rate: float) -> None:
    bucket = TokenBucket(limit, rate, 0.0)
    assert [bucket.take(0.0) for _ in range(limit + 1)] == [True] * limit + [False]
    assert bucket.take(bucket.next_in(0.0) + 1e-6)


def test_while_there_is_a_token_nobody_waits() -> None:
    bucket = TokenBucket(2, 0.1, 5.0)
    assert (bucket.next_in(5.0), bucket.remaining(5.0)) == (0, 2)
    assert bucket.take(5.0)
    assert bucket.take(5.0)
    assert (bucket.next_in(5.0), bucket.next_in(9.0), bucket.next_in(14.5)) == (10, 6, 1)
