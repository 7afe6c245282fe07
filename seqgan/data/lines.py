"""Texts as lines: one text a line, whatever characters it holds.

Most texts are their own line. A text that a line cannot hold (it has a line break, a tab or another
control character), a blank one, and one that would be read as another text are written as JSON
strings, `"two\\nlines"`. A line is such a string only if its text needs one; any other line in
quotes is the text that it shows. So `from_line(as_line(text)) == text` for every text.
"""

import json
import re

# Control characters, Unicode's line ends, the byte order mark, and halves of surrogate pairs.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]")


def as_line(text: str) -> str:
    """The line of a text: without line breaks, and in Unicode that any file takes.

    Two halves of a surrogate pair side by side are the character that they make.
    """
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return json_line(whole) if _needs_quotes(whole) else whole


def from_line(line: str) -> str:
    """The text of a line."""
    text = _quoted(line)
    return line if text is None else text


def json_line(value: object) -> str:
    """The value as JSON, in one line for every program: letters as they are, the rest escaped."""
    line = json.dumps(value, ensure_ascii=False)
    return _UNFIT.sub(lambda found: f"\\u{ord(found[0]):04x}", line)


def _needs_quotes(text: str) -> bool:
    return not text.strip() or bool(_UNFIT.search(text)) or _quoted(text) is not None


def _quoted(line: str) -> str | None:
    """The text of a line that is a JSON string and has to be one; else None."""
    if line[:1] != '"' or line[-1] != '"':
        return None
    try:
        text = json.loads(line)
    except ValueError:
        return None
    return text if _needs_quotes(text) else None
