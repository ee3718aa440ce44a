"""Hold the words of the system: values without I/O, but for naming files."""
