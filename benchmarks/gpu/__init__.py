"""What can only be checked and measured on a GPU; every script runs on a CPU as well, to be tested (docs/gpu.md)."""

from benchmarks.gpu.absent import stand_in

# Imported by what is measured, but never called: the lent machine has no Ray, and its wheel is too large to be carried.
stand_in("ray", "ray.serve", "ray.serve.handle", "av", "wetext", "soxr", "typer")
