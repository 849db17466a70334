"""How the bundled reader reads Chromium pages of conversations and code, and how its certainty was calibrated."""
