"""The frame of every command: command line, logging, progress, exit codes, devices."""
