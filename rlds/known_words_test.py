"""What may be said of a task, and what may not."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from base.errors import MalformedError
from rlds import known_words

_BOUNDED = settings(max_examples=500, derandomize=True, deadline=None)


@pytest.mark.parametrize(
    "text",
    [
        "reach-v3",
        "button-press-topdown-wall-v3",
        "pick up the blue block, and put it into the second drawer.",
        "Stack 2 cubes on the red plate",
        "put 12 cubes into 3 boxes",
        "gym:CartPole-v1",
        "gym:ALE/Breakout-v5",
        "metaworld-3.1.1",
        "replay-metaworld-3.1.1",
        "so101-sim",
        "MyArm2",
        "UR5e",
    ],
)
def test_words_of_the_list_and_small_numbers_are_known(text: str) -> None:
    assert known_words.find_unknown(text) is None


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("bring Ada the cup", 2),
        ("reach-AdaLovelace-v3", 2),
        ("bringada", 1),
        ("put it into Müller's box", 4),
        ("pick up the cube 🤖", 5),
        ("pick\u202eup", 1),
        ("take the pills at", 3),
        ("go to 52.516275", 4),
        ("go to 52.51,13.37", 1),
        ("call 0151", 1),
        ("call 01 51 23 45", 1),
        ("put 01 51 23 45", 1),
        ("put 31.12.99", 1),
        ("put 12/31/99", 1),
        ("put 31-12", 1),
        ("put 19 84", 1),
        ("call 01 51", 1),
        ("put 2026", 2),
        ("start at 8:41", 1),
        ("", 1),
        (" - ", 1),
        ("put " * 65, 1),
        ("put ²", 2),
        ("put ٣", 2),
    ],
)
def test_name_place_time_and_any_other_word_is_found(text: str, place: int) -> None:
    assert known_words.find_unknown(text) == place


@pytest.mark.parametrize(
    "text", ["frob-arm", "Frob the wuzzles", "FrobArm2", "wuzzle", "pick up a WUZZLE"]
)
def test_word_of_the_robots_own_counts_as_listed_and_for_no_other(text: str) -> None:
    own = known_words.parse_own(["frob", "wuzzle"], "flag")
    assert known_words.find_unknown(text, own) is None
    assert known_words.find_unknown(text) is not None
    assert known_words.find_unknown(f"{text} for Ada", own) is not None
    assert known_words.find_unknown(f"{text} 2026", own) is not None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "a list of at most 64 words, got another value"),
        ("frob", "a list of at most 64 words"),
        ({"frob": 1}, "a list of at most 64 words"),
        (["frob"] * 65, "a list of at most 64 words, got 65"),
        (["arm", ""], "words of 1 to 24 letters from a to z, got another, word 2"),
        ([1], "words of 1 to 24 letters"),
        ([["frob"]], "words of 1 to 24 letters"),
        (["Frob"], "words of 1 to 24 letters"),
        (["frob2"], "words of 1 to 24 letters"),
        (["frob\n"], "words of 1 to 24 letters"),
        (["pick up"], "words of 1 to 24 letters"),
        (["fröb"], "words of 1 to 24 letters"),
        (["a" * 25], "words of 1 to 24 letters"),
    ],
)
def test_what_is_no_short_list_of_plain_words_is_refused_and_not_repeated(
    value: object, expected: str
) -> None:
    with pytest.raises(MalformedError) as caught:
        known_words.parse_own(value, "flag")
    assert f"flag: expected {expected}" in str(caught.value)
    assert "rob" not in str(caught.value)


def test_as_many_words_as_may_be_are_the_robots_own() -> None:
    words = [f"{a}{b}" for a in "abcdefgh" for b in "abcdefgh"]
    assert known_words.parse_own([*words[:63], "a" * 24], "flag") > {"aa", "hg"}
    assert known_words.parse_own([], "flag") == known_words.NO_WORDS


def test_the_list_is_of_lower_case_words_without_their_separators() -> None:
    for word in known_words.WORDS:
        assert word == word.lower()
        assert word.isascii()
        assert word.isalnum()


def test_no_common_name_of_a_person_is_on_the_list() -> None:
    """The most common given and family names of English and German registers."""
    names = [
        "ada",
        "adam",
        "alexander",
        "alice",
        "amy",
        "andrea",
        "andreas",
        "angela",
        "ann",
        "anna",
        "anne",
        "anthony",
        "barbara",
        "ben",
        "bernd",
        "betty",
        "brian",
        "carol",
        "charles",
        "chris",
        "christian",
        "christine",
        "claudia",
        "dan",
        "daniel",
        "david",
        "deborah",
        "dennis",
        "donald",
        "donna",
        "dorothy",
        "edward",
        "elizabeth",
        "emily",
        "emma",
        "eric",
        "frank",
        "gary",
        "george",
        "gisela",
        "grace",
        "günter",
        "hans",
        "heike",
        "heinz",
        "helen",
        "helga",
        "henry",
        "ingrid",
        "jack",
        "jacob",
        "james",
        "jan",
        "jane",
        "jason",
        "jean",
        "jeff",
        "jennifer",
        "jessica",
        "joe",
        "john",
        "jonas",
        "jose",
        "joseph",
        "joshua",
        "juan",
        "julia",
        "julie",
        "jürgen",
        "karen",
        "karin",
        "karl",
        "kate",
        "kathy",
        "kelly",
        "ken",
        "kevin",
        "klaus",
        "kim",
        "kimberly",
        "larry",
        "laura",
        "leon",
        "lee",
        "linda",
        "lisa",
        "louis",
        "lucas",
        "lukas",
        "manfred",
        "margaret",
        "maria",
        "mark",
        "markus",
        "martin",
        "mary",
        "matthew",
        "max",
        "mia",
        "michael",
        "michelle",
        "mike",
        "mohammed",
        "monika",
        "nancy",
        "nicole",
        "nina",
        "noah",
        "oliver",
        "olivia",
        "pamela",
        "patricia",
        "patrick",
        "paul",
        "peter",
        "petra",
        "philip",
        "rachel",
        "ralf",
        "renate",
        "richard",
        "robert",
        "roger",
        "ronald",
        "rose",
        "ruth",
        "ryan",
        "sabine",
        "sam",
        "samantha",
        "sandra",
        "sara",
        "sarah",
        "scott",
        "sean",
        "sharon",
        "sophie",
        "stefan",
        "stephen",
        "steven",
        "susan",
        "susanne",
        "tanja",
        "theo",
        "thomas",
        "tim",
        "timothy",
        "tom",
        "uwe",
        "ursula",
        "victor",
        "virginia",
        "walter",
        "werner",
        "wilhelm",
        "william",
        "wolfgang",
        "anderson",
        "baker",
        "bauer",
        "becker",
        "carter",
        "clark",
        "cooper",
        "davis",
        "evans",
        "fischer",
        "garcia",
        "hernandez",
        "hoffmann",
        "jackson",
        "johnson",
        "jones",
        "khan",
        "klein",
        "koch",
        "lewis",
        "li",
        "lopez",
        "martinez",
        "meyer",
        "miller",
        "moore",
        "müller",
        "nguyen",
        "patel",
        "richter",
        "robinson",
        "rodriguez",
        "roberts",
        "schmidt",
        "schneider",
        "schulz",
        "schäfer",
        "singh",
        "smith",
        "taylor",
        "thompson",
        "wagner",
        "wang",
        "weber",
        "wilson",
        "wolf",
        "wright",
        "zhang",
    ]
    # A robot arm of two makers has the name of a family.
    assert set(names) & known_words.WORDS <= {"koch"}


@_BOUNDED
@given(text=st.text(max_size=60))
@example("a" * 300)
@example("reach\x00v3")
def test_any_text_is_known_only_if_it_is_made_of_the_list(text: str) -> None:
    if known_words.find_unknown(text) is None:
        left = text.lower()
        for word in sorted(known_words.WORDS, key=len, reverse=True):
            left = left.replace(word, " ")
        assert not any(one.isalpha() and one != "s" for one in left), text
        assert sum(one.isdigit() for one in left) <= 6


@_BOUNDED
@given(
    words=st.lists(st.sampled_from(sorted(known_words.WORDS)), min_size=1, max_size=9),
    name=st.text("abcdefghijklmnopqrstuvwxyzäöüß", min_size=2, max_size=12),
    place=st.integers(0, 9),
)
def test_one_other_word_among_known_ones_is_found(
    words: list[str], name: str, place: int
) -> None:
    text = " ".join([*words[:place], name, *words[place:]])
    found = known_words.find_unknown(text)
    known = {name, name.removesuffix("s")} & known_words.WORDS != set()
    assert (found is None) == known
