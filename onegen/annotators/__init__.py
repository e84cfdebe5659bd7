"""Annotators, one file per modality; the registry imports annotators/NAME.py only when a recipe names NAME."""
