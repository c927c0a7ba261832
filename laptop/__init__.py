"""Tuskwatch on one machine: start minipachd and Airflow's four components, run the demo, stop it all again."""
