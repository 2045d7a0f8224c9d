"""The servers that the peers need: the project's own, with the settings of the bench."""
