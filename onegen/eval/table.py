"""The protocols by name, told without importing one: what the command line lists."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onegen.errors import ConfigError, nearest

if TYPE_CHECKING:
    from onegen.eval.protocol import Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a protocol lives, and one line about it: the command line asks for no more."""

    module: str
    cls: str
    help: str


PROTOCOLS: Mapping[str, Entry] = {
    "geneval": Entry("geneval", "GenEval", "Table 1: does a picture show what its prompt asks for (GenEval)"),
    "nvs": Entry("nvs", "NovelViews", "Table 2: unseen views of an object from 1, 2 or 3 of it (GSO30)"),
    "identity": Entry("identity", "Identity", "Table 3: is it still the same person (portraits)"),
    "depth": Entry("depth", "MonocularDepth", "Table 4: depth of single photos (NYUv2, DIODE)"),
    "cameras": Entry("cameras", "CameraPose", "Table 5: where photos of an object were taken from (GSO)"),
    "pie": Entry("pie", "PieBench", "Table 6: does an edit leave the rest alone (PIE-Bench)"),
    "dreambench": Entry("dreambench", "DreamBench", "Table 7: is it still the same thing (DreamBooth's set)"),
    "cycle": Entry("cycle", "Cycle", "Our own: does a picture keep to its condition; --data is a dataset of ours"),
    "solids": Entry("solids", "Solids", "Our own: what a small model learnt; --data is a dataset of generated scenes"),
}


def find_protocol(name: str) -> "type[Protocol]":
    """Return the class of a protocol; raises ConfigError naming the nearest."""
    if name not in PROTOCOLS:
        raise ConfigError(f"protocol must be one of ours, got {name!r}; {nearest(name, PROTOCOLS)}")
    entry = PROTOCOLS[name]
    cls: type[Protocol] = getattr(importlib.import_module(f"onegen.eval.{entry.module}"), entry.cls)
    return cls


def make_protocol(name: str, options: Mapping[str, Any]) -> "Protocol":
    """Return a protocol with its options; raises ConfigError for one that it has not, or out of its range."""
    from onegen.config.parse import parse

    return parse(find_protocol(name), dict(options), f"options of {name}")
