"""How units get learned: one by one here or many at a time on Ray, on which machine, shown how."""
