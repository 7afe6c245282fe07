"""The last part of `docs/metrics.md`: every metric and setting that it names is there."""

import re
from dataclasses import asdict

import pytest

from seqgan.tracking.metrics import METRICS, to_markdown
from seqgan.tracking.symptoms import ILLNESSES
from seqgan.training.presets import PRESETS

LISTED = {metric.name for metric in METRICS}
AREAS = {metric.area for metric in METRICS} - {""}


def metrics_named(text):
    """Whatever looks like a metric: an area of the list, a slash and a name."""
    return set(re.findall(rf"\b(?:{'|'.join(AREAS)})/[\w<>]+(?:/[\w<>]+)?", text))


def settings_of(plain, prefix=""):
    """Dotted names of all settings."""
    for name, value in plain.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from settings_of(value, f"{prefix}{name}.")


def test_every_illness_of_the_field_is_there():
    assert [illness.name for illness in ILLNESSES] == [
        "Mode collapse",
        "Discriminator too strong",
        "Discriminator too weak, or nothing to teach",
        "Flat reward",
        "Reward hacking",
        "Forgetting and overfitting",
        "Divergence",
        "Memorisation",
    ]


@pytest.mark.parametrize("illness", ILLNESSES, ids=lambda illness: illness.name)
def test_an_illness_names_metrics_and_settings_that_exist(illness):
    metrics = [metric for metric, _ in illness.signs]
    assert len(metrics) == len(set(metrics)) >= 3
    assert set(metrics) <= LISTED
    for text in (illness.meaning, *(sign for _, sign in illness.signs)):
        assert metrics_named(text) <= LISTED
    known = {name for preset in PRESETS.values() for name in settings_of(asdict(preset()))}
    prose = " ".join((illness.remedy, *(sign for _, sign in illness.signs)))
    settings = [name for name in re.findall(r"`([^`]+)`", prose) if "." in name]
    assert settings
    assert set(settings) <= known


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_says_how_it_looks_well_and_ill(metric):
    assert metric.healthy
    assert metric.wrong
    assert metrics_named(f"{metric.healthy} {metric.wrong}") <= LISTED


def test_the_document_ends_with_the_symptoms():
    page = to_markdown().partition("\n## Symptoms\n")[2]
    assert re.findall(r"^### (.*)", page, flags=re.MULTILINE) == [i.name for i in ILLNESSES]
    assert "<" not in re.sub(r"`[^`]+`", "", to_markdown())  # it would be taken for HTML
    rows = re.findall(r"^\| `([^`]+)` \| [^|]+ \|$", page, flags=re.MULTILINE)
    assert rows == [metric for illness in ILLNESSES for metric, _ in illness.signs]
