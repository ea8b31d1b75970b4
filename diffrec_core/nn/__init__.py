"""Network parts and training objectives that model families share. Knows no model."""
