"""params.yaml as typed sections, and the presets that overlay it."""
