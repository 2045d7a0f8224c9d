"""Who is rung for what."""

import pytest

from headrace.notifiers.listeners import EVERYTHING, Subscription


@pytest.mark.parametrize(
    ("prefixes", "kinds", "found"),
    [
        (("queue:",), {"queue"}, {"queue:mail", "queue:*"}),
        (("queue:mail",), {"queue"}, {"queue:mail", "queue:*"}),
        (("queue:post",), {"queue"}, {"queue:*"}),
        (("job:", "cancel"), {"job", "cancel"}, {"job:1", "job:*", "cancel"}),
        (("job:2",), {"job"}, {"job:*"}),
        (("c",), {"cancel"}, {"cancel"}),
        (("upstream",), {"upstream"}, {"upstream"}),
        (("",), {"queue", "job", "sink", "cancel", "upstream"}, {"queue:mail", "job:1"} | EVERYTHING),
        ((), set(), set()),
    ],
)
def test_a_hint_for_a_whole_kind_is_for_all_who_want_any_of_it(
    prefixes: tuple[str, ...], kinds: set[str], found: set[str]
) -> None:
    subscription = Subscription(prefixes, lambda _: None)
    assert subscription.kinds == kinds
    assert subscription.matching(frozenset({"queue:mail", "job:1"}) | EVERYTHING) == found
