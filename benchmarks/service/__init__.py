"""The HTTP service under load: appends a second, and kills."""
