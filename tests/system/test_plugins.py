"""The grammar that names code of the user's own, and one clear line for what is wrong there."""

import functools
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from seqgan.system.errors import ConfigurationError
from seqgan.system.plugins import Spec, call, load, make, nearest, parse_spec, spec_of

MINE = """
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    rate: float = 0.5

    class Inner:
        pass


class Strict:
    def __init__(self, weight=0):
        raise ValueError(f"weight is {weight}, but must be at least 1")


class Failing:
    def __init__(self):
        raise KeyError("so")


def callback(metrics):
    return metrics


def made_by(function, times=2):
    return [function] * times


instance = Rule(0.25)
"""
SHIPPED = {"rule": "mine:Rule", "two_words": "mine:callback", "with-dash": "mine:instance"}


@pytest.fixture(autouse=True)
def folder(own_code):
    """The working directory, with `mine.py`."""
    (own_code / "mine.py").write_text(MINE, encoding="utf-8")
    return own_code


spec_of_a_reward = functools.partial(Spec, what="reward")


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("constant", spec_of_a_reward("constant", "", "constant", None)),
        (" a-name ", spec_of_a_reward("a-name", "", "a-name", None)),
        ("constant()", spec_of_a_reward("constant()", "", "constant", {})),
        (
            "f(value=-2.5, on=True)",
            spec_of_a_reward("f(value=-2.5, on=True)", "", "f", {"value": -2.5, "on": True}),
        ),
        (
            "f(1, 'a', k=2)",
            spec_of_a_reward("f(1, 'a', k=2)", "", "f", {"k": 2}, in_order=(1, "a")),
        ),
        ("a.b:c.d", spec_of_a_reward("a.b:c.d", "a.b", "c.d", None)),
        (
            "./x.py:f(m=[1, 'a:(b)'])",
            spec_of_a_reward("./x.py:f(m=[1, 'a:(b)'])", "./x.py", "f", {"m": [1, "a:(b)"]}),
        ),
        ("./x(1).py:f", spec_of_a_reward("./x(1).py:f", "./x(1).py", "f", None)),
        ("./x(1).py:f(k=1)", spec_of_a_reward("./x(1).py:f(k=1)", "./x(1).py", "f", {"k": 1})),
        (r"C:\x.py:f", spec_of_a_reward(r"C:\x.py:f", r"C:\x.py", "f", None)),
    ],
)
def test_the_parts_of_a_specification(text, spec):
    assert parse_spec(text, "reward") == spec


GRAMMAR = (
    r"it must be NAME, module:attribute or file.py:attribute, and"
    r" \(literal, key=literal, ...\) after it$"
)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", rf"^reward '' cannot be read; {GRAMMAR}"),
        ("   ", rf"^reward .* cannot be read; {GRAMMAR}"),
        ("two words", rf"^reward 'two words' cannot be read; {GRAMMAR}"),
        (":f", rf"^reward ':f' cannot be read; {GRAMMAR}"),
        ("mine:", rf"^reward 'mine:' cannot be read; {GRAMMAR}"),
        (
            "./none.py",
            r"^reward './none.py' cannot be read: no such file; it must be \./none\.py:NAME$",
        ),
        ("mine.length", rf"^reward 'mine.length' cannot be read; {GRAMMAR}"),
        ("mine:length)", rf"^reward 'mine:length\)' cannot be read; {GRAMMAR}"),
        ("f(a=1)(b=2)", rf"^reward .* cannot be read; {GRAMMAR}"),
        ("f(a=)", rf"^reward .* cannot be read; {GRAMMAR}"),
        (
            "f(b)",
            r"^reward 'f\(b\)': the argument 'b' is no literal of Python, such as 3, 'text' or",
        ),
        ("f(a=b)", r"^reward 'f\(a=b\)': the argument 'a=b' is no literal of Python, such"),
        ("f(a=open('x'))", r"the argument \"a=open\('x'\)\" is no literal of Python"),
        ("f(*[1])", r"the argument '\*\[1\]' is no literal"),
        ("f(**{'a': 1})", r"the argument .* is no literal"),
    ],
)
def test_what_is_no_specification(text, rule):
    with pytest.raises(ValueError, match=rule):
        parse_spec(text, "reward")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def dogs(text): ...\nclass Cats: ...\n", "which has dogs, Cats; write ./my.py:dogs"),
        ("raise SystemExit\nasync def later(text): ...", "which has later; write ./my.py:later"),
        ("def _hidden(text): ...\nx = 1\n", "names nothing in that file; it must be ./my.py:NAME"),
        ("def broken(:", "names nothing in that file; it must be ./my.py:NAME"),
    ],
)
def test_a_file_without_a_name_is_answered_with_its_names(code, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.py").write_text(code)
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        parse_spec("./my.py", "reward")
    assert str(error.value).startswith("reward './my.py' names nothing in that file")


@pytest.mark.parametrize("what", ["observer", "rule"])
def test_errors_use_the_noun_of_the_slot(what):
    with pytest.raises(ValueError, match=rf"^{what} 'two words' cannot be read; it must be NAME, "):
        parse_spec("two words", what)
    with pytest.raises(ValueError, match=rf"^{what} 'f\(b\)': the argument 'b' is no literal"):
        parse_spec("f(b)", what)
    with pytest.raises(ValueError, match=rf"^unknown {what} 'ruel'; did you mean rule\? \(short "):
        make("ruel", what, SHIPPED)


class TestMake:
    @pytest.mark.parametrize("place", ["mine", "./mine.py", "{folder}/mine.py"])
    @pytest.mark.parametrize(
        ("attribute", "rate"), [("Rule", 0.5), ("Rule()", 0.5), ("Rule(rate=2.0)", 2.0)]
    )
    def test_calls_a_class(self, folder, place, attribute, rate):
        assert make(f"{place.format(folder=folder)}:{attribute}", "rule", {}).rate == rate

    def test_calls_a_function_only_where_parentheses_are_written(self):
        assert make("mine:callback", "observer", {})({"a": 1}) == {"a": 1}
        assert make("mine:callback(metrics=3)", "observer", {}) == 3
        assert make("mine:instance", "rule", {}).rate == 0.25

    def test_short_names_are_the_callers(self):
        assert make("rule(rate=3.0)", "rule", SHIPPED).rate == 3.0
        assert make("two-words", "observer", SHIPPED)(4) == 4
        assert make("with-dash", "rule", SHIPPED).rate == 0.25

    @pytest.mark.parametrize(
        ("text", "rule"),
        [
            ("mine:Rule(rat=1)", r".*argument 'rat'; its arguments are \(rate: float = 0.5\)"),
            ("mine:Strict", r"weight is 0, but must be at least 1$"),
            ("mine:Failing", r"KeyError: 'so' \(.*mine.py, line \d+\)$"),
            ("mine:instance(rate=1)", r"Rule\(.*\) cannot be called, so it takes no arguments"),
            ("mine:Ruel", r"there is no 'Ruel' in mine; did you mean Rule\?$"),
            ("./his.py:Rule", r"there is no file \./his.py$"),
        ],
    )
    def test_what_is_wrong_is_one_line(self, text, rule):
        with pytest.raises(ValueError, match=rf"^rule .*: {rule}") as caught:
            make(text, "rule", SHIPPED)
        assert "\n" not in str(caught.value)


def test_an_object_is_loaded_as_it_stands():
    found = load(parse_spec("mine:Rule(rate=1)", "rule"), {})
    assert isinstance(found, type)
    assert call(found, {"rate": 7.0}, parse_spec("mine:Rule", "rule")).rate == 7.0


class TestSpecOf:
    @pytest.mark.parametrize("attribute", ["Rule", "Rule.Inner"])
    def test_a_class_of_a_file_is_found_again_from_anywhere(self, folder, monkeypatch, attribute):
        found = load(parse_spec(f"./mine.py:{attribute}", "rule"), {})
        text = spec_of(found)
        assert text == f"{folder}/mine.py:{attribute}"
        monkeypatch.chdir("/")
        assert load(parse_spec(text, "rule"), {}) is found

    def test_a_class_of_a_module(self):
        found = load(parse_spec("mine:Rule", "rule"), {})
        assert spec_of(found) == "mine:Rule"
        assert spec_of(Spec) == "seqgan.system.plugins:Spec"

    def test_a_class_of_a_script_and_of_a_notebook(self, monkeypatch, folder):
        @dataclass
        class Own:
            pass

        Own.__module__, Own.__qualname__ = "__main__", "Own"
        monkeypatch.setattr(sys.modules["__main__"], "__file__", "script.py", raising=False)
        assert spec_of(Own) == f"{folder}/script.py:Own"
        monkeypatch.delattr(sys.modules["__main__"], "__file__")
        assert spec_of(Own) == "__main__:Own"


def test_the_nearest_name_is_a_hint():
    assert nearest("capitons", ["oracle", "captions"]) == "; did you mean captions?"
    assert nearest("zzzzz", ["oracle", "captions"]) == ""


def test_a_bug_in_a_module_of_the_package_keeps_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_part.py").write_text("1 / 0\n", encoding="utf-8")
    monkeypatch.setattr("seqgan.tasks.__path__", [str(tmp_path)])
    monkeypatch.syspath_prepend(tmp_path)
    shipped = {"ours": "seqgan.tasks.broken_part:Thing", "theirs": "broken_part:Thing"}
    with pytest.raises(ZeroDivisionError):
        load(parse_spec("ours", "phase"), shipped)
    with pytest.raises(ConfigurationError, match="ZeroDivisionError"):  # the user's is one line
        load(parse_spec("theirs", "phase"), shipped)
