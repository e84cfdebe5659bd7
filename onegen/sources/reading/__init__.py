"""What several sources read with: files, tables and their rows, tars, metadata, lists of downloads."""
