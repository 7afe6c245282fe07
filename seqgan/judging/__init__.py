"""Human evaluation: a page with pairs of texts of hidden origin, and statistics of the answers."""
