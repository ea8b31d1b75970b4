"""Sample data, and its replay night by night."""
