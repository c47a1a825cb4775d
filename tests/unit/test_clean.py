"""Cleaning mends what a decade of copying did to these tweets, and nothing else."""

import pandas as pd
import pytest

from pipeline.counts.counts import vectorizer
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
        ("http://t.co/abc,evacuate now", "http,evacuate now"),
        ("地震http://t.co/abc大家小心", "地震http大家小心"),
        ("(see http://t.co/abc). Run!", "(see http). Run!"),
        ("“http://t.co/abc” http://t.co/…", '"http" http'),
        ("<a href='http://x.y/z'>fire</a>", "<a href='http'>fire</a>"),
        ("http://maps.org/@37.77,-122.41 http://x.y/story,123.html?a=1;b=2#c", "http http"),
        ("http://x.y/Fire_(2015) and (www.x.y/a)", "http and (http)"),
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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("İstanbul'da deprem", ["i\u0307stanbul'da", "deprem"]),
        ("می‌خواهم", ["می‌خواهم"]),
        ("தமிழ் ภาษาไทย", ["தமிழ்", "ภาษาไทย"]),
        ("❤️ 1️⃣ fire🔥", ["1", "fire"]),
    ],
)
def test_a_word_keeps_its_marks(text: str, expected: list[str]) -> None:
    assert words(text) == expected
    counted = vectorizer(1, 1, keywords=False).fit(pd.DataFrame({"text": [text], "keyword": [""]}))
    assert {name.removeprefix("word__") for name in counted.get_feature_names_out()} == set(expected)
