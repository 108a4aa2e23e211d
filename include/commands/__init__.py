"""What the commands of `prodsys` do; `include.cli` puts them on the command line."""
