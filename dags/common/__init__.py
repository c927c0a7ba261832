"""What the DAGs' tasks do, apart from Airflow."""
