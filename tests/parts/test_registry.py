"""Registries: names, claims and the evidence of where a part is."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from gflow_core.errors import PluginError, UnknownPart
from gflow_core.parts.registry import Registry


@attrs.frozen
class Unet:
    """A part to register.

    With a second paragraph.
    """


@attrs.frozen
class Other:
    """Another part."""


@pytest.fixture
def samplers() -> Registry[Unet]:
    registry: Registry[Unet] = Registry("sampler")
    registry.add("mine.unet", Unet, "mine 1.0")
    registry.add("mine.other", Other, "mine 1.0")
    return registry


def test_a_part_is_found_by_its_name_and_its_name_by_the_part(samplers):
    assert samplers.get("mine.unet") is Unet
    assert samplers.entry("mine.unet").provider == "mine 1.0"
    assert samplers.name_of(Other) == "mine.other"
    assert list(samplers) == ["mine.other", "mine.unet"]
    assert len(samplers) == 2
    assert "mine.unet" in samplers
    assert "mine.net" not in samplers


def test_an_unknown_name_lists_what_exists_and_the_closest(samplers):
    with pytest.raises(UnknownPart) as error:
        samplers.get("mine.unt")
    assert str(error.value) == ('unknown sampler "mine.unt"; did you mean "mine.unet"? (known: mine.other, mine.unet)')
    with pytest.raises(UnknownPart, match=r"\(known: none is registered\)"):
        Registry("latent").get("normal")


def test_a_class_that_is_not_registered_has_no_name(samplers):
    with pytest.raises(UnknownPart, match="Registry is not a registered sampler"):
        samplers.name_of(Registry)


@pytest.mark.parametrize("name", ["", "Unet", "mine.Unet", "a.b.c", "mine/unet", "../x", "1a", "a-b", None, 3])
def test_malformed_names_are_refused(samplers, name):
    with pytest.raises(PluginError, match="use lower-case letters"):
        samplers.add(name, Unet, "mine 1.0")
    assert len(samplers) == 2


@pytest.mark.parametrize("part", [object, Unet(), "Unet", None])
def test_what_is_no_attrs_class_is_refused(samplers, part):
    with pytest.raises(PluginError, match="a part is an attrs class"):
        samplers.add("mine.third", part, "mine 1.0")


def test_a_name_that_two_claim_belongs_to_neither_and_the_error_names_both(samplers):
    with pytest.raises(PluginError, match=r'"mine.unet" is claimed by mine 1.0 and by yours 2.0'):
        samplers.add("mine.unet", Other, "yours 2.0")
    with pytest.raises(UnknownPart, match=r"claimed by mine 1.0 and by yours 2.0; uninstall or rename one"):
        samplers.get("mine.unet")
    assert samplers.get("mine.other") is Other


def test_find_tells_file_line_and_documentation(samplers):
    place = samplers.find("mine.unet")
    assert place.module == __name__
    assert place.file == __file__
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    assert "class Unet:" in lines[place.line - 1 : place.line + 1]  # the line of the decorator or of the class
    assert place.doc.splitlines()[0] == "A part to register."
