"""The steps: each reads its section of params.yaml and its inputs, calls the library, writes."""
