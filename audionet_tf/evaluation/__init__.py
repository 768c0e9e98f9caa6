"""A student against its teacher, against clip categories, against multi-label tables."""
