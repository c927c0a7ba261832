"""Put new rules, or those before: started by hand.

The file is read as threat-detect will read it before anything is committed: one that is not JSON, or names an unknown key, changes nothing.
Choose whether what is already there is looked at again:

- *all images*: every image meets the new rules, as Pachyderm does by itself;
- *only new images*: the images so far, with what was found in them, are set aside first. They leave the head of `images`, and so the
  plot; they stay in the commits before, and under the branch `images@before-<run>`.

*Roll back* puts the rules of the commit before again, as a new commit.
"""

from dags import settings
from dags.common.checks import check_rules
from dags.common.rotation_dag import rotation_dag

# Airflow's DAG processor reads files in which it finds the words airflow and dag.
dag = rotation_dag(
    "update_rules",
    doc=__doc__,
    repo=settings.RULES_REPO,
    path=settings.RULES_PATH,
    file="Rule file (rule.json)",
    what="rules",
    check=check_rules,
)
