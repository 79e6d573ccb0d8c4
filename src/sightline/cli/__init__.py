"""The command line: one file per command. Nothing here computes; torch is imported inside the commands."""
