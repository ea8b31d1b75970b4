"""Ingestion: from raw files of any supported format to typed events and a quarantine."""
