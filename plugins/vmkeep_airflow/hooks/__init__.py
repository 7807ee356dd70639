"""Airflow connections, read into the engine's own values."""
