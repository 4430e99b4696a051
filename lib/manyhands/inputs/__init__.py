"""The sources of inputs: arguments, lines, files, CSV, JSON lines, a program's own objects; read without making the engine wait."""
