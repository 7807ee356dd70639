"""What Airflow needs of vmkeep: hooks, operators, and the texts of its forms."""
