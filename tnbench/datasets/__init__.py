"""Pictures and labels, one data set per file."""
