"""Bytes to pixels and back, and arithmetic on pictures and boxes."""
