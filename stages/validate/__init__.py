"""validate: sorts camera images into valid and invalid, by name and by bytes."""
