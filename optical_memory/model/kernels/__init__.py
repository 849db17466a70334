"""Kernels in Triton for CUDA devices. Nothing here is imported where Triton is missing or the device is another."""
