"""HTTP: one handler per resource. Paths are relative to the page; every handler runs in the thread pool."""
