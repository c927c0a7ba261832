"""What the DAGs that set up, check and remove a stack do, apart from Airflow: typed steps that are safe to repeat.

A *step* makes one thing be there (or be gone): a bucket, a cluster, the Helm release. It looks first, and says one of:

- :class:`~dags.provisioning.outcome.Done`: as wanted, with what was found, created or removed;
- :class:`~dags.provisioning.outcome.Pending`: started, not finished; call it again later;
- an error of :mod:`dags.provisioning.errors`: it is there but differs, or it cannot be.

Because every call starts by looking, a killed step is repaired by calling it again. ``steps`` lists them by name, ``operators`` runs
them in Airflow, ``clients`` is the only module that knows Airflow's connections.
"""
