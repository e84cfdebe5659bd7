"""The command line: one file a group of verbs, thin over the rooms below."""
