"""What the report is made of: results, sentences, tables, charts, provenance, and the page that holds them."""
