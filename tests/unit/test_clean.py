"""Cleaning mends what a decade of copying did to these tweets, and nothing else."""

import pytest

from pipeline.data.clean import clean, words


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("Fire &amp; smoke &gt;:(", "Fire & smoke >:("),
        ("twice &amp;amp; escaped", "twice & escaped"),
        ("look http://t.co/aBc123 and https://x.y/z?q=1", "look http and http"),
        ("see www.example.org/a now", "see http now"),
        ("@one_2 said hi to @Two", "@user said hi to @user"),
        ("write to me@home.org", "write to me@home.org"),
        ("two\nlines  and\ttabs ", "two lines and tabs"),
        ("itâ€™s here", "it's here"),
        ("cafÃ© on fire", "café on fire"),
        ("people don\x89Ûªt \x89ÛÏhear\x89Û\x9d it", 'people don\'t "hear" it'),
        ("wait for it\x89Û_ now", "wait for it… now"),
        ("Sky\u00e5\u00caNews", "Sky News"),
        ("#Hashtags stay", "#Hashtags stay"),
        ("Malmö and Köln", "Malmö and Köln"),
        ("&nbsp;", "…"),
    ],
)
def test_clean(raw: str, cleaned: str) -> None:
    assert clean(raw) == cleaned


def test_words_ignore_links_mentions_case_and_retweets() -> None:
    original = words(clean("Bus crash on I-95, three hurt http://t.co/abc"))
    assert (
        words(clean("RT @who: BUS CRASH on I-95 three hurt... http://t.co/xyz"))
        == original
        == ["bus", "crash", "on", "i", "95", "three", "hurt"]
    )
