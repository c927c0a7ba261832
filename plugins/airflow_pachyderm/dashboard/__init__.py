"""The Pachyderm page in Airflow's UI: pipelines, jobs, repos and threats, read-only.

``plugin`` registers it, ``app`` is the FastAPI application, ``routes/`` holds one handler per resource, the modules beside this one read
from Pachyderm through :mod:`~airflow_pachyderm.dashboard.gateway`, and ``static/`` is the page itself.
"""
