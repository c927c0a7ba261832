"""Put a new model, or the one before: started by hand.

The file is loaded as object-detect will load it before anything is committed: one that is no frozen graph, or lacks a tensor, changes
nothing. (Where TensorFlow is not installed, as in Airflow's image, it is put unseen, and object-detect fails if it cannot load it.)

Choose whether what is already there is looked at again:

- *all images*: every image meets the new model, as Pachyderm does by itself;
- *only new images*: the images so far, with what was found in them, are set aside first. They leave the head of `images`, and so the
  plot; they stay in the commits before, and under the branch `images@before-<run>`.

*Roll back* puts the model of the commit before again, as a new commit.
"""

from dags import settings
from dags.common.checks import check_model
from dags.common.rotation_dag import rotation_dag

# Airflow's DAG processor reads files in which it finds the words airflow and dag.
dag = rotation_dag(
    "rotate_model",
    doc=__doc__,
    repo=settings.MODEL_REPO,
    path=settings.MODEL_PATH,
    file="Frozen graph (frozen_inference_graph.pb)",
    what="model",
    check=check_model,
)
