"""Put on Airflow's module path by :func:`laptop.airflow.environment`."""
