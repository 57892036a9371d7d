"""The docstring of a rule and the places that show it."""

import pytest

from steepest import rules
from steepest.report.rule.card import describe, text
from steepest.rules.about import About, parse


@pytest.mark.parametrize("name", [name for name, rule in rules.RULES.items() if rule.is_ours])
def test_every_rule_says_what_it_is_when_to_use_it_and_when_to_avoid_it(name):
    about = rules.get(name).about
    assert all(about)
    assert all(part.endswith(".") for part in about)
    assert about.idea[0].isupper()


def test_presets_and_rules_around_rules_have_words_of_their_own():
    assert len({rules.get(name).about for name in ("sgd", "momentum", "nesterov", "sam", "adam", "adamw")}) == 6
    assert rules.clip_by_norm(rules.get("adam")).about == About("", "", "")
    assert rules.get("adam(beta1=0.8)").about == rules.get("adam").about


def test_parts_may_be_long_in_any_order_or_missing():
    assert parse("") == About("", "", "")
    assert parse("One line.") == About("One line.", "", "")
    said = parse("""An idea
        in two lines.

        Avoid: in
            the dark.
        Use: by day.

        A derivation, which is no part.
    """)
    assert said == About("An idea in two lines.", "by day.", "in the dark.")


def test_a_rule_without_a_docstring_is_shown_by_its_source(registry):
    @rules.rule("me")
    def silent(p, g, t, *, lr=0.1):
        return p - lr * g

    card = describe(silent)
    assert (card["idea"], card["use"], card["avoid"]) == ("", "", "")
    assert text(card).splitlines()[1:4] == ["me", "", '    @rules.rule("me")']


def test_the_docstring_is_no_part_of_what_a_rule_computes(registry):
    def make(said):
        @rules.rule("me")
        def loud(p, g, t, *, lr=0.1):
            return p - lr * g

        return loud if not said else loud.preset("louder", doc=said)

    assert make("").digest == make("Words.").digest
