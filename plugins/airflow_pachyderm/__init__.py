"""Airflow provider for Pachyderm: a connection type, a hook, operators, sensors and triggers.

Importing the package loads nothing else of it: Airflow imports it in every process to read :func:`get_provider_info`.
"""

from typing import Any

__version__ = "0.1.0"


def get_provider_info() -> dict[str, Any]:
    """Describe the provider to Airflow; the entry point ``apache_airflow_provider`` names this function."""
    integration = "Pachyderm"
    return {
        "package-name": "tuskwatch",
        "name": integration,
        "description": "Versioned data and data-driven pipelines with `Pachyderm <https://www.pachyderm.com>`__.",
        "versions": [__version__],
        "integrations": [{"integration-name": integration, "external-doc-url": "https://docs.pachyderm.com", "tags": ["service"]}],
        "connection-types": [
            {
                "connection-type": "pachyderm",
                "hook-class-name": "airflow_pachyderm.hooks.pachyderm.PachydermHook",
                "hook-name": "Pachyderm",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "login", "extra"],
                    "relabeling": {"password": "Auth token"},
                    "placeholders": {"host": "127.0.0.1", "port": "30650", "password": "empty where Pachyderm's auth is off"},
                },
                "conn-fields": {
                    "project": {
                        "label": "Project",
                        "description": "Pachyderm project of all repos and pipelines that are named without one. Empty: default.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "tls": {
                        "label": "Use TLS",
                        "description": "On for a server behind TLS (grpcs://), off for one in the same cluster or on this machine.",
                        "schema": {"type": ["boolean", "null"], "default": False},
                    },
                    "ca_pem": {
                        "label": "CA certificates",
                        "description": "PEM text of the authorities to trust. Empty: those of the system. Needs TLS.",
                        "schema": {"type": ["string", "null"], "format": "multiline"},
                    },
                    "kubernetes_conn_id": {
                        "label": "Kubernetes connection",
                        "description": "Airflow connection of Pachyderm's cluster, to look up the service below and to read workers' logs.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "namespace": {
                        "label": "Kubernetes namespace",
                        "description": "Namespace that Pachyderm is in, for example pachyderm.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "service": {
                        "label": "Kubernetes service",
                        "description": "Instead of a host: Pachyderm's service, for example pachyderm-proxy. Looked up at each use.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "console_url": {
                        "label": "Console URL",
                        "description": "Base URL of Pachyderm's Console, for links from tasks. Empty: links lead to the page in Airflow.",
                        "schema": {"type": ["string", "null"]},
                    },
                },
            }
        ],
        "hooks": [{"integration-name": integration, "python-modules": ["airflow_pachyderm.hooks.pachyderm"]}],
        "operators": [{"integration-name": integration, "python-modules": _modules("operators", "file", "pipeline", "push", "repo")}],
        "sensors": [{"integration-name": integration, "python-modules": _modules("sensors", "commit", "job", "pipeline")}],
        "triggers": [{"integration-name": integration, "python-modules": _modules("triggers", "commit_set", "condition")}],
        "asset-uris": [{"schemes": ["pachyderm"], "handler": None, "to_openlineage_converter": "airflow_pachyderm.lineage.convert_asset"}],
        "extra-links": ["airflow_pachyderm.links.PachydermCommitLink"],
    }


def _modules(package: str, *names: str) -> list[str]:
    return [f"{__name__}.{package}.{name}" for name in names]
