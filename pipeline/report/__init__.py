"""From unit directories to tables, figures and a page."""
