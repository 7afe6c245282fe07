"""Texts of a person's own in Markdown, which show there as they were typed."""

import re

from seqgan.system.errors import one_line


def code_span(text: str) -> str:
    """The text as code, in which nothing but a table's bar has a meaning of its own."""
    line = one_line(text).replace("|", r"\|")
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    padding = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{padding}{line}{padding}{fence}"


def plain_name(name: str) -> str:
    """A name as it is where that is safe, else as code, which also keeps `:fire:` from burning."""
    return name if re.fullmatch(r"[^\W_]([\w./-]*[^\W_])?", name) else code_span(name)


def prose(text: str) -> str:
    """A sentence, with a backslash before each character that would be more than itself."""
    line = re.sub(r"[\\`*\[\]<>|$~#]", r"\\\g<0>", one_line(text))
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", line)
