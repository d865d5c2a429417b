"""Sources of problems: readers of published sets, of files of problems, and of sets described by a column mapping."""
