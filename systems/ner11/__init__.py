"""NER11 Gold Model: PostgreSQL, an API and a frontend in containers, models on disk."""
