"""The protocols by name, told without importing one: what the command line lists."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onegen.config.parse import parse
from onegen.errors import ConfigError, nearest
from onegen.eval.protocol import Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a protocol lives, the paper's table it fills, and one line about it."""

    module: str
    cls: str
    table: str
    help: str


PROTOCOLS: Mapping[str, Entry] = {
    "geneval": Entry("onegen.eval.geneval", "GenEval", "1", "does the picture show what the prompt asks for"),
    "nvs": Entry("onegen.eval.nvs", "NovelViews", "2", "unseen views of an object from 1, 2 or 3 of it"),
    "identity": Entry("onegen.eval.identity", "Identity", "3", "is it still the same person"),
    "depth": Entry("onegen.eval.depth", "MonocularDepth", "4", "depth of single photos (NYUv2, DIODE)"),
    "cameras": Entry("onegen.eval.cameras", "CameraPose", "5", "where photos of an object were taken from"),
    "pie": Entry("onegen.eval.pie", "PieBench", "6", "does an edit leave the rest alone (PIE-Bench)"),
    "dreambench": Entry("onegen.eval.dreambench", "DreamBench", "7", "is it still the same thing (DreamBooth's set)"),
    "cycle": Entry("onegen.eval.cycle", "Cycle", "", "does a picture keep to its condition; needs a dataset of ours"),
}


def find_protocol(name: str) -> type[Protocol]:
    """Return the class of a protocol; raises ConfigError naming the nearest."""
    if name not in PROTOCOLS:
        raise ConfigError(f"protocol must be one of ours, got {name!r}; {nearest(name, PROTOCOLS)}")
    entry = PROTOCOLS[name]
    cls: type[Protocol] = getattr(importlib.import_module(entry.module), entry.cls)
    return cls


def make_protocol(name: str, options: Mapping[str, Any]) -> Protocol:
    """Return a protocol with its options; raises ConfigError for one that it has not, or out of its range."""
    return parse(find_protocol(name), dict(options), f"options of {name}")
