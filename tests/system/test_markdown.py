"""Names and sentences of a person's own in Markdown."""

import pytest

from seqgan.system.markdown import code_span, plain_name, prose


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("captions-20260101", "captions-20260101"),
        ("a_b/c.txt", "a_b/c.txt"),
        ("cost_$\\frac$", "`cost_$\\frac$`"),
        (":fire:", "`:fire:`"),
        ("_x_", "`_x_`"),
        ("a b", "`a b`"),
        ("a`b", "``a`b``"),
        ("`", "`` ` ``"),
        ("a|b", r"`a\|b`"),
        ("a\nb", "`a b`"),
    ],
)
def test_a_name_is_code_where_it_would_be_more_than_itself(name: str, shown: str) -> None:
    assert plain_name(name) == shown


def test_a_reward_is_code() -> None:
    assert code_span("lexicon(words=['`'])") == "``lexicon(words=['`'])``"


def test_a_sentence_keeps_its_characters() -> None:
    said = "texts of a_b.txt, *not* _this_ [x](y) $1 | 2\n# end"
    assert prose(said) == r"texts of a_b.txt, \*not\* \_this\_ \[x\](y) \$1 \| 2 \# end"
