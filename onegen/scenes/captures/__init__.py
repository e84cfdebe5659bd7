"""Captures: pictures whose cameras are known, one reader a published layout, all to frames in one convention."""
