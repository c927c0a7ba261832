"""What people would use instead of this project, with the same stages, images, model and outputs."""
