"""Human evaluation: a blinded page of pairs of texts, and the numbers of what people chose."""
