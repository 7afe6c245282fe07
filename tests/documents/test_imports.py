"""One-way imports: who may import whom, read from the source with `ast`."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# A module imports from its own row or from those above it. The first row that has its folder, or
# its own name, is its place.
LAYERS = (
    ("data", "system", "tracking.metrics", "tracking.symptoms"),
    ("functional",),
    ("models",),
    ("tasks",),
    ("rewards",),
    ("tracking", "evaluation", "decoding"),
    ("learning",),
    ("training", "integrations"),
    ("report", "judging", "sweeps", "exporting"),
    ("commands", "cli", "__main__"),
)


def modules(folder, package):
    """Dotted names of a package's modules, with their syntax trees."""
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        parts = path.relative_to(ROOT / folder).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        found[".".join((package, *parts))] = ast.parse(path.read_text("utf-8"))
    return found


SEQGAN = modules("seqgan", "seqgan")
SEQGAN_ENVS = modules("envs/seqgan_envs", "seqgan_envs")
PACKAGES = {name for name in SEQGAN if any(other.startswith(f"{name}.") for other in SEQGAN)}


def imported(tree, known=()):
    """Full names of everything that a module imports, at any depth, for type checking or not.

    `from package import module` gives the module where `known` holds it.
    """
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                continue
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                names.add(full if full in known else str(node.module))
    return names


def top_level(names):
    return {name.partition(".")[0] for name in names}


def layer_of(module):
    """A module's layer; packages import nothing (tested below), so anything may import them."""
    if module in PACKAGES:
        return 0
    name = module.removeprefix("seqgan.")
    for layer, row in enumerate(LAYERS):
        if any(name == place or name.startswith(f"{place}.") for place in row):
            return layer
    raise AssertionError(f"{module} has no place in the layers of {Path(__file__).name}")


@pytest.mark.parametrize("module", [name for name in SEQGAN if name != "seqgan"])
def test_imports_point_downwards(module):
    """All but the root's, which names things of every layer and imports none before its use."""
    layer = layer_of(module)
    for name in imported(SEQGAN[module], SEQGAN):
        if name == "seqgan" or name.startswith("seqgan."):
            assert name in SEQGAN, f"{module} imports {name}, which is not there"
            assert layer_of(name) <= layer, f"{module} (layer {layer}) imports {name} from above"


def test_rewards_import_each_other_in_no_circle():
    known = {name for name in SEQGAN.keys() - PACKAGES if name.startswith("seqgan.rewards.")}
    graph = {name: imported(SEQGAN[name], SEQGAN) & known for name in known}
    TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize("module", [*SEQGAN, *SEQGAN_ENVS])
def test_imports_are_absolute(module):
    """But in the file that is copied, with the one beside it, into folders of exported models."""
    tree = (SEQGAN | SEQGAN_ENVS)[module]
    relative = {node.module for node in ast.walk(tree) if getattr(node, "level", 0)}
    assert relative == ({"head"} if module == "seqgan.models.discriminators.classifier" else set())


@pytest.mark.parametrize("place", chain.from_iterable(LAYERS))
def test_every_place_is_taken(place):
    names = [name.removeprefix("seqgan.") for name in SEQGAN]
    assert any(name == place or name.startswith(f"{place}.") for name in names)


@pytest.mark.parametrize("package", sorted(PACKAGES - {"seqgan"}))
def test_packages_import_nothing(package):
    assert not imported(SEQGAN[package])


@pytest.mark.parametrize("module", SEQGAN_ENVS)
def test_environments_know_nothing_of_the_library(module):
    allowed = {"seqgan_envs", "numpy", "gymnasium", *sys.stdlib_module_names}
    if module == "seqgan_envs.picture":  # which imports them where the first picture is asked for
        allowed |= {"matplotlib", "PIL"}
    assert top_level(imported(SEQGAN_ENVS[module])) <= allowed


def test_wandb_is_imported_by_its_tracker_and_by_the_check_of_its_settings():
    users = {name for name, tree in SEQGAN.items() if "wandb" in top_level(imported(tree))}
    assert users == {
        f"seqgan.tracking.wandb_{part}" for part in ("artifacts", "settings", "tracker")
    }


def test_wandb_workspaces_is_imported_in_one_file():
    users = {n for n, tree in SEQGAN.items() if "wandb_workspaces" in top_level(imported(tree))}
    assert users == {"seqgan.tracking.workspace"}


def test_stable_baselines3_is_imported_in_one_file():
    packages = {"stable_baselines3", "sb3_contrib"}
    users = {name for name, tree in SEQGAN.items() if packages & top_level(imported(tree))}
    assert users == {"seqgan.integrations.sb3"}


@pytest.mark.parametrize("module", [*SEQGAN, *SEQGAN_ENVS])
def test_nothing_imports_experiments_or_tests(module):
    tree = (SEQGAN | SEQGAN_ENVS)[module]
    outside = {"experiments", "benchmarks", "tests", "conftest"}
    outside |= {path.stem for path in (ROOT / "tests").glob("*.py")}
    outside |= {path.stem for path in (ROOT / "experiments").glob("*.py")}
    assert not top_level(imported(tree)) & outside


@pytest.mark.parametrize("module", ["seqgan", "seqgan.cli", "seqgan_envs"])
def test_light_imports(module):
    """Importing the package, the command line or the environments imports no torch."""
    script = f"import sys, {module}; print('torch' in sys.modules, 'wandb' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.split() == ["False", "False"]
