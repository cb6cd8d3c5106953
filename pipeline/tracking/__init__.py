"""MLflow as a view of unit directories: runs, their points, a summary, and links to pages."""
