"""The settings of IDEs: edits of their text, places, entries, and the ready configurations."""
