"""Annotators: a modality is a file or a folder of backends; the registry imports NAME only when a recipe names it."""

from onegen.config.registry import register

__all__ = ["register"]
