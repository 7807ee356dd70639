"""vmkeep for Airflow: hooks, operators, and the texts of connection forms."""
