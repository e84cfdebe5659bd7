"""Scenes: objects as meshes, the renderers that photograph them, and captures whose cameras are known."""
