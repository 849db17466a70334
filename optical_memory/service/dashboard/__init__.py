"""The dashboard: what a model sees of a session at each age, what it costs, and the keys. Looking changes nothing."""
