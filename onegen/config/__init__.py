"""Recipes to typed objects, names to classes, and the recipes that ship."""
