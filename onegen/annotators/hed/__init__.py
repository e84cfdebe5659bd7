"""Soft edges."""
