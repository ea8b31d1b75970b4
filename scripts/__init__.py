"""What the Makefile starts that is no step: services of this machine, and the demo of nights."""
