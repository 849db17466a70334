"""The demo's report: pictures and plots of what a memory does with a real conversation."""
