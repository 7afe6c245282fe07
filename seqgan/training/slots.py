"""The slots of a run's settings: their kinds, and classes of the user's own in their place.

A slot holds the settings that build one part of a run. In a file and on the command line its `kind`
names their class: a kind of the table below, `package.module:Config` or `./file.py:Config`. A class
is imported when it is chosen, and no sooner.
"""

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from seqgan.system.errors import ConfigurationError
from seqgan.system.plugins import Spec, check_takes, load, parse_spec, spec_of, told, wrong
from seqgan.system.plugins import built as built_by
from seqgan.training.named_rules import NAMED_RULES

_RECURRENT = "seqgan.models.generators.recurrent:RecurrentGeneratorConfig"

SLOTS: Mapping[str, Mapping[str, str]] = {
    "task": {
        "captions": "seqgan.tasks.captions:CaptionsConfig",
        "oracle": "seqgan.tasks.oracle:OracleConfig",
        "text": "seqgan.tasks.files.text:TextConfig",
        "prompts": "seqgan.tasks.files.prompts:PromptsConfig",
    },
    "generator": {
        "lstm": _RECURRENT,
        "gru": _RECURRENT,
        "transformer": "seqgan.models.generators.transformer:TransformerGeneratorConfig",
        "pretrained": "seqgan.models.generators.pretrained:PretrainedGeneratorConfig",
    },
    "discriminator": {
        "gru": "seqgan.models.discriminators.recurrent:RecurrentDiscriminatorConfig",
        "cnn": "seqgan.models.discriminators.cnn:CNNDiscriminatorConfig",
        "transformer": "seqgan.models.discriminators.transformer:TransformerDiscriminatorConfig",
        "causal": "seqgan.models.discriminators.causal:CausalDiscriminatorConfig",
        "pretrained": "seqgan.models.discriminators.pretrained:PretrainedDiscriminatorConfig",
    },
    "rule": {
        "policy_gradient": "seqgan.learning.rules.policy_gradient:PolicyGradientConfig",
        "preference": "seqgan.learning.rules.preference:PreferenceConfig",
        "reweighting": "seqgan.learning.rules.reweighting:ReweightingConfig",
        "cloning": "seqgan.learning.rules.reweighting:CloningConfig",
        "cooperative": "seqgan.learning.rules.cooperative:CooperativeConfig",
        "gumbel": "seqgan.learning.rules.gumbel:GumbelConfig",
    },
}

# The phases that have a short name. Each is a function of (players, config) that gives the phase.
SHIPPED_PHASES = {
    "maximum_likelihood": "seqgan.training.phases.maximum_likelihood:build",
    "adversary": "seqgan.training.phases.adversary:build",
    "game": "seqgan.training.phases.game:build",
}


def settings_class(slot: str, kind: str) -> type:
    """The dataclass that a kind or a specification puts into a slot.

    Raises:
        ConfigurationError: no such kind, or no dataclass with a method `build`.
    """
    spec = parse_spec(kind, slot)
    if spec.arguments is not None:
        raise wrong(
            spec, f"it takes no arguments: its fields are settings of their own ({slot}.NAME)"
        )
    found = load(spec, SLOTS[slot], others=NAMED_RULES if slot == "rule" else ())
    if not isinstance(found, type):
        raise wrong(spec, f"{found!r} is no dataclass, as a slot must hold")
    if not (is_dataclass(found) and callable(getattr(found, "build", None))):
        raise wrong(
            spec,
            f"the class {found.__name__} is no dataclass with a method build that makes the {slot}",
        )
    for item in fields(found):
        if item.name.startswith("_") or not item.init:
            raise wrong(
                spec, f"its field {item.name!r} cannot be set, but its fields must be settings"
            )
    try:
        get_type_hints(found)
    except Exception as error:  # whatever evaluating the user's annotations raises
        raise wrong(spec, f"the types of its fields cannot be read: {told(error)}") from error
    return found


def built(slot: str, settings: Any, kind: type, **arguments: Any) -> Any:
    """The object that the settings in a slot build.

    Args:
        kind: the class or the protocol of the slot's objects.
        arguments: those of the settings' method `build`, in their order; their names are for
            errors alone.

    Raises:
        ConfigurationError: `build` takes other arguments, or gives something else.
    """
    if not callable(getattr(settings, "build", None)):
        raise ConfigurationError(
            f"{slot} is {settings!r}, but must be settings with a method build"
        )
    spec = Spec(kind_of(slot, settings), "", "", None, slot)
    check_takes(settings.build, arguments, spec)
    given = tuple(arguments.values())
    if spec.text in SLOTS[slot]:
        made = settings.build(*given)
    else:
        made = built_by(settings, given, slot, spec.text)
    if not isinstance(made, kind):
        lacking = ""
        if getattr(kind, "_is_protocol", False):  # of a class all parts would be too many
            names = [name for name in vars(kind) if not name.startswith("_")]
            lacking = f" without {', '.join(name for name in names if not hasattr(made, name))}"
        raise wrong(
            spec, f"its method build gives {made!r}{lacking}, but must give a {kind.__name__}"
        )
    return made


def kind_of(slot: str, settings: Any) -> str:
    """The kind of the settings in a slot; for a class of the user's own, its specification."""
    spec = spec_of(type(settings))
    kind: str = getattr(settings, "kind", "")
    return kind if SLOTS[slot].get(kind) == spec else spec


def short_kind_of(slot: str, settings: Any) -> str:
    """`kind_of` as a part of a file's name: of a specification, its file's or module's last."""
    kind = kind_of(slot, settings)
    place = kind.rpartition(":")[0]
    name = Path(place).stem if "/" in place else place.rpartition(".")[2]
    return re.sub(r"\W", "_", name or kind)
