"""The `satchel` command."""
