import pytest

from edge.operator import sessions
from edge.operator.sessions import Limiter, Sessions, TooManyTriesError


def pair(one: Sessions, now_s: float = 0.0) -> str:
    token = one.pair(one.show_code(now_s), "10.0.0.9", False, now_s)
    assert token is not None
    return token


def test_code_pairs_once_and_is_another_one_then() -> None:
    one = Sessions()
    code = one.show_code(0.0)
    token = one.pair(code.lower().replace("-", " "), "10.0.0.9", False, 1.0)
    assert token is not None
    session = one.find(token, 2.0)
    assert session is not None and len(session.csrf) > 40
    assert one.show_code(2.0) != code
    assert one.pair(code, "10.0.0.9", False, 3.0) is None


def test_code_is_another_one_after_its_time() -> None:
    one = Sessions()
    code = one.show_code(0.0)
    assert one.show_code(sessions.CODE_LIVES_S - 1) == code
    assert one.pair(code, "a", False, sessions.CODE_LIVES_S) is None


def test_wrong_tries_of_one_address_end_after_a_few() -> None:
    one = Sessions()
    for _ in range(sessions.TRIES_PER_MINUTE):
        assert one.pair("AAAA-AAAA", "10.0.0.9", False, 0.0) is None
    with pytest.raises(TooManyTriesError):
        one.pair(one.show_code(0.0), "10.0.0.9", False, 59.0)
    assert one.pair(one.show_code(60.0), "10.0.0.9", False, 60.0) is not None


def test_many_addresses_try_no_more_than_all_may_and_lock_nobody_out_here() -> None:
    one = Sessions()
    looked_at = 0
    for number in range(200):
        try:
            assert one.pair("AAAA-AAAA", f"10.0.0.{number}", False, 0.0) is None
        except TooManyTriesError:
            continue
        looked_at += 1
    assert looked_at == sessions.ALL_TRIES_PER_MINUTE
    assert one.pair(one.show_code(0.0), "127.0.0.1", True, 0.0) is not None


def test_code_does_not_outlive_its_wrong_tries() -> None:
    one = Sessions()
    code = one.show_code(0.0)
    for number in range(sessions.TRIES_OF_A_CODE):
        assert one.show_code(0.0) == code
        one.pair("AAAA-AAAA", f"10.0.0.{number}", False, 0.0)
    assert one.show_code(0.0) != code


def test_chance_of_a_year_of_guessing_is_that_of_the_comment() -> None:
    assert 1e-5 < sessions.GUESS_CHANCE < 2e-5


@pytest.mark.parametrize("used", [False, True])
def test_session_ends_unused_and_at_its_end_however_it_is_used(used: bool) -> None:
    one = Sessions()
    token = pair(one)
    now_s, step_s = 0.0, sessions.IDLE_LIVES_S / 2
    while now_s + step_s < sessions.SESSION_LIVES_S and used:
        now_s += step_s
        assert one.find(token, now_s) is not None
    now_s += step_s if used else sessions.IDLE_LIVES_S
    assert one.find(token, now_s) is None
    assert one.find(token, 0.0) is None  # for good


def test_other_tokens_are_no_session() -> None:
    one = Sessions()
    token = pair(one)
    for other in ("", token[:-1], token + "A", token.swapcase(), "é\ud800"):
        assert one.find(other, 0.0) is None
    one.close(token)
    assert one.find(token, 0.0) is None


def test_oldest_session_gives_way_to_a_new_one() -> None:
    one = Sessions()
    tokens = [pair(one, 60.0 * n) for n in range(sessions.MOST_SESSIONS + 1)]
    assert one.find(tokens[0], 600.0) is None
    assert all(one.find(token, 600.0) for token in tokens[1:])
    assert one.count(600.0) == sessions.MOST_SESSIONS


def test_limiter_forgets_kinds_that_are_too_many() -> None:
    limiter = Limiter(1, 60.0)
    for number in range(10_000):
        assert limiter.take(str(number), 0.0)
    assert not limiter.take("9999", 0.0)
    assert len(limiter._seen) <= 256
