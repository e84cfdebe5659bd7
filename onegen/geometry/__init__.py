"""Cameras, rays and their conventions."""
