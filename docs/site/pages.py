"""The site's made pages: all settings from their dataclasses, and the reference from docstrings."""

import ast
import inspect
import textwrap
from collections.abc import Collection
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path

import seqgan
from seqgan.training.settings import TrainConfig
from seqgan.training.slots import SLOTS, settings_class

ROOT = Path(__file__).parents[2]
ROOMS = (  # of the reference, in the order of the layers
    "data",
    "functional",
    "models",
    "tasks",
    "rewards",
    "decoding",
    "tracking",
    "evaluation",
    "learning",
    "training",
    "integrations",
)
# The public names that most readers look for, before the others.
CALLED = ("make_env", "dense_reward", "train", "load", "Run", "sample", "evaluate", "as_trl")
# A model class that folders of transformers name; it cannot be read without that library.
LEFT_OUT = ("seqgan.models.discriminators.classifier",)


def write(folder: Path) -> None:
    """Writes all made pages into a folder; one that is as it was keeps its time."""
    folder.mkdir(exist_ok=True)
    made = {"settings": settings_page(), "seqgan": public_page(), "seqgan_envs": envs_page()}
    made |= {room: room_page(room) for room in ROOMS}
    for name, text in made.items():
        page = folder / f"{name}.md"
        if not page.is_file() or page.read_text("utf-8") != text:
            page.write_text(text, "utf-8")


def directive(kind: str, name: str, *options: str) -> list[str]:
    return ["```{eval-rst}", f".. auto{kind}:: {name}", *options, "```", ""]


def public_page() -> str:
    """The names of `import seqgan`: what is called, what it gives, what is made one's own."""
    lines = ["# seqgan", "", "The public names; each is imported when it is first used.", ""]
    values = {name: getattr(seqgan, name) for name in sorted(seqgan.__all__)}
    modules = {name: value for name, value in values.items() if inspect.ismodule(value)}
    for name in [*CALLED, *sorted(values.keys() - modules.keys() - {*CALLED})]:
        kind = "class" if inspect.isclass(values[name]) else "function"
        lines += [f"## {name}", "", *directive(kind, f"seqgan.{name}", "   :no-index:")]
    lines += ["## Modules", ""]
    lines += [f"- `seqgan.{name}`: the module `{each.__name__}`" for name, each in modules.items()]
    return "\n".join([*lines, ""])


def envs_page() -> str:
    return modules_page("seqgan_envs", ROOT / "envs", "seqgan_envs")


def room_page(room: str) -> str:
    return modules_page(f"seqgan.{room}", ROOT, f"seqgan/{room}")


def modules_page(title: str, root: Path, folder: str) -> str:
    """The modules of a folder that say something in their docstring."""
    lines = [f"# {title}", ""]
    for path in sorted((root / folder).rglob("*.py")):
        if ast.get_docstring(ast.parse(path.read_text("utf-8"))):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join(part for part in parts if part != "__init__")
            if name in LEFT_OUT:
                continue
            lines += [f"## {name}", "", *directive("module", name)]
    return "\n".join(lines)


def settings_page() -> str:
    """All settings with their flags, types, defaults and meanings."""
    lines = [
        "# Settings",
        "",
        "Every setting is a flag of `seqgan train`, a line of a run's `config.yaml`, and an",
        "argument of `seqgan.train(...)` by its dotted name. A preset has defaults of its own:",
        "`seqgan train PRESET --help-all` shows them.",
    ]
    config = TrainConfig()
    groups: dict[str, type] = {"": TrainConfig}
    for item in fields(TrainConfig):
        value = getattr(config, item.name)
        if is_dataclass(value) and item.name not in SLOTS:
            groups[item.name] = type(value)
    for name, settings in groups.items():
        lines += ["", f"## {name}" if name else "## The run", "", *table(name, settings)]
    for slot, kinds in SLOTS.items():
        lines += ["", f"## {slot}", "", f"`--{slot}.kind` is one of {', '.join(kinds)}."]
        classes: dict[type, list[str]] = {}
        for kind in kinds:
            classes.setdefault(settings_class(slot, kind), []).append(kind)
        for settings, names in classes.items():
            lines += ["", f"### {slot}: {', '.join(names)}", "", *table(slot, settings)]
    return "\n".join([*lines, ""])


def table(group: str, settings: type) -> list[str]:
    """A row for each field; nested settings by their dotted names."""
    head = ["| flag | type | default | meaning |", "|---|---|---|---|"]
    return [*head, *rows(group, settings, () if group else SLOTS)]


def rows(group: str, settings: type, left_out: Collection[str]) -> list[str]:
    comments = comments_of(settings)
    found = []
    for item in fields(settings):  # type: ignore[arg-type]
        default = item.default
        if default is MISSING and item.default_factory is not MISSING:
            default = item.default_factory()
        if item.name in left_out:
            continue
        name = f"{group}.{item.name}" if group else item.name
        if is_dataclass(default):
            if group:
                found += rows(name, type(default), ())
            continue
        given = "" if default is MISSING else f"`{default!r}`"
        cells = (f"`--{name.replace('_', '-')}`", f"`{type_of(settings, item.name)}`", given)
        found.append(f"| {' | '.join(cells)} | {comments.get(item.name, '')} |")
    return found


def annotated_fields(settings: type) -> list[tuple[ast.AnnAssign, str]]:
    """The fields of a class with the comment of each: behind it, or in the lines above it."""
    source = textwrap.dedent(inspect.getsource(settings))
    lines, found = source.splitlines(), []
    tree = ast.parse(source).body[0]
    assert isinstance(tree, ast.ClassDef)
    for node in tree.body:
        if not isinstance(node, ast.AnnAssign):
            continue
        assert node.end_lineno is not None
        behind = lines[node.end_lineno - 1][node.end_col_offset :].partition("#")[2].strip()
        above: list[str] = []
        for line in reversed(lines[: node.lineno - 1]):
            if not line.strip().startswith("#"):
                break
            above.insert(0, line.strip().removeprefix("#").strip())
        found.append((node, behind or " ".join(above)))
    return found


def comments_of(settings: type) -> dict[str, str]:
    return {
        ast.unparse(node.target): comment.replace("|", "\\|")
        for node, comment in annotated_fields(settings)
    }


def type_of(settings: type, name: str) -> str:
    """A field's type as its source spells it."""
    for node, _ in annotated_fields(settings):
        if ast.unparse(node.target) == name:
            return ast.unparse(node.annotation).replace("|", "\\|")
    return ""
