"""Parts of bench/search_quality."""
