"""Ask Airflow's API server whether components are healthy: ``python3 airflow-health.py scheduler triggerer``. Status 0: all are."""

import json
import sys
import urllib.error
import urllib.request

URL = "http://api-server:8080/api/v2/monitor/health"

try:
    with urllib.request.urlopen(URL, timeout=5) as answer:
        health = json.load(answer)
except (urllib.error.URLError, OSError, ValueError) as error:
    sys.exit(f"{URL}: {error}")
sick = [name for name in sys.argv[1:] if (health.get(name) or {}).get("status") != "healthy"]
sys.exit(f"not healthy: {', '.join(sick)}" if sick else 0)
