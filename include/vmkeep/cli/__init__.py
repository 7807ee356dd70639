"""The command line: one file per noun, calling the same functions as Airflow's operators."""
