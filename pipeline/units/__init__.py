"""Units of work, from what each one is to the directory that it leaves: learned, read, proven, moved."""
