"""Faces and who they are."""
