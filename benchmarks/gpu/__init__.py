"""What can only be checked and measured on a GPU; every script runs on a CPU as well, to be tested (docs/gpu.md)."""
