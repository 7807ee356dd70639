"""Reads Airflow connections into the engine's values."""
