"""plot: threats by device, by class and over time."""
