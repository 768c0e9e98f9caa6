"""What the other benchmarks and scripts/choose_recipe run."""
