"""`make_env` and arguments as they are typed first."""

import pytest

from seqgan.learning.environments import make_env

WORDS = ["the", "dog", "sees"]


@pytest.mark.parametrize(
    ("guess", "said"),
    [
        ({"max_len": 6}, "has no argument max_len; did you mean max_length"),
        ({"n_envs": 4}, "has no argument n_envs; did you mean num_envs"),
        ({"reward_fn": len}, "has no argument reward_fn; did you mean reward"),
        ({"autoreset_mode": "Disabled"}, "has no argument autoreset_mode"),  # of the vector's
        ({"reset_mode": "Disabled", "num_envs": 2}, "; did you mean autoreset_mode"),
    ],
)
def test_an_argument_that_is_none_is_named_with_the_one_that_is_meant(guess, said) -> None:
    with pytest.raises(TypeError, match=said):
        make_env(WORDS, **guess)


def test_the_name_of_a_file_is_no_list_of_words() -> None:
    with pytest.raises(ValueError, match=r"words is 'texts.txt', but must be a list of words"):
        make_env("texts.txt")


def test_a_text_is_a_list_of_its_words() -> None:
    assert make_env("The dog sees the dog").rules.words == ("the", "dog", "sees")


def test_a_single_prompt_may_be_a_string() -> None:
    env = make_env(WORDS, prompts="the dog")
    assert env.rules.prompts.tolist() == [[0, 1]]
    with pytest.raises(ValueError, match="the prompt 'the cat' has the word 'cat'"):
        make_env(WORDS, prompts="the cat")
