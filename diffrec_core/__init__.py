"""The library: values in, values out. Nothing here reads the environment or knows a path."""
